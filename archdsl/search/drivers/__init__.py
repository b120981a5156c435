"""Ways to search: each proposes the next point from the trials that have ended, and keeps nothing else."""
