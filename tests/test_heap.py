"""A step's memory is there for the next one."""

import subprocess
import sys

STEPS = """
import resource, sys
import torch
from vispec.kernels.heap import keep_pages

if sys.argv[1] == "kept":
    keep_pages()
for step in range(30):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(250_000) for _ in range(20)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that twenty steps of twenty tensors of 1 MB ask the system for."""
    done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_later_steps_find_the_pages_of_earlier_ones() -> None:
    assert faults("kept") < 2000
