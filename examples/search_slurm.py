"""A search on a SLURM cluster: the same command on several nodes, which share the work through a database.

    pip install submitit "psycopg[binary]"
    python examples/search_slurm.py study.yaml postgresql://me:secret@db.example/studies --nodes 8

A node that is killed or runs out of time loses only the trials it was running; another takes them over.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def work(study: str, storage: str, out: str) -> int:
    """One node's share."""
    command = [sys.executable, "-m", "archdsl", "search", study, "--storage", storage, "--out", out, "--resume"]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("storage", help="postgresql://… or mysql+pymysql://…")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--partition")
    parser.add_argument("--out", default="runs/slurm")
    parser.add_argument("--here", action="store_true", help="run on this machine instead of a cluster, to try it out")
    given = parser.parse_args()
    import submitit

    executor = submitit.AutoExecutor(folder=f"{given.out}/jobs", cluster="local" if given.here else None)
    executor.update_parameters(
        name="archdsl-search", timeout_min=int(given.hours * 60), cpus_per_task=given.cores, gpus_per_node=given.gpus
    )
    if given.partition:
        executor.update_parameters(slurm_partition=given.partition)
    with executor.batch():
        jobs = [executor.submit(work, given.study, given.storage, f"{given.out}/node-{i}") for i in range(given.nodes)]
    print("submitted", ", ".join(job.job_id for job in jobs))
    for job in jobs:
        lost = job.exception()  # of a node that was killed, say; the others have done its share
        print(job.job_id, "was lost" if lost else f"ended with {job.result()}")


if __name__ == "__main__":
    main()
