"""The same spec and seed give the same weights and hashes in every process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import hashlib, archdsl
spec = archdsl.load("tests/hard/hybrid.arch")
model = spec.build(seed=11)
total = hashlib.blake2b()
for name, value in sorted(model.state_dict().items()):
    total.update(name.encode() + value.numpy().tobytes())
print(spec.structure_hash, spec.interface_hash, total.hexdigest())
"""


def run(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", CODE], env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_two_processes_agree():
    assert run("1") == run("2")
