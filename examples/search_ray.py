"""A search on a Ray cluster: one process of the search on each of several workers, which share the work through a database.

    pip install ray "psycopg[binary]"
    python examples/search_ray.py study.yaml postgresql://me:secret@db.example/studies --workers 8

The study file must be at the same path on every node, and archdsl be installed there.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def work(study: str, storage: str, out: str) -> int:
    """One worker's share."""
    command = [sys.executable, "-m", "archdsl", "search", study, "--storage", storage, "--out", out, "--resume"]
    return subprocess.run(command, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("storage", help="postgresql://… or mysql+pymysql://…")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2, help="of each worker")
    parser.add_argument("--gpus", type=float, default=0, help="of each worker")
    parser.add_argument("--address", help="of the cluster; by default Ray is started here")
    parser.add_argument("--out", default="runs/ray")
    given = parser.parse_args()
    import ray

    ray.init(address=given.address)
    share = ray.remote(num_cpus=given.cores, num_gpus=given.gpus, max_retries=3)(work)
    print("ended with", ray.get([share.remote(given.study, given.storage, f"{given.out}/worker-{i}") for i in range(given.workers)]))


if __name__ == "__main__":
    main()
