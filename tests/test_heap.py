"""A step's memory is there for the next one."""

import subprocess
import sys

STEPS = """
import resource
import torch
from vispec.kernels.heap import keep_pages

keep_pages()
for step in range(30):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(250_000) for _ in range(20)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_later_steps_find_the_pages_of_earlier_ones() -> None:
    """Twenty steps of twenty tensors of 1 MB take few pages from the system, where without it each takes all of its own."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2000
