"""Every program of the benchmarks computes what its float64 reference does, at tiny sizes; the emitted module among them."""

from collections.abc import Callable

import pytest

from benchmarks.programs import hmm, ibm1, mixture, vae
from benchmarks.workload import Workload, contender, errors

TINY: dict[str, Callable[[], Workload]] = {
    "mixture": lambda: mixture.workload(rows=7, dims=3, components=4),
    "ibm1": lambda: ibm1.workload(pairs=3, words=5, types=13, embed=64, hidden=128),
    "vae": lambda: vae.workload(rows=5, pixels=784, hidden=400, code=3),
    "hmm": lambda: hmm.workload(rows=3, steps=9, states=4, types=11),
}


@pytest.mark.parametrize("name", ["plain", "expert", "emitted"])
@pytest.mark.parametrize("workload", TINY)
def test_programs_agree_with_the_reference(workload: str, name: str) -> None:
    made = TINY[workload]()
    value, gradient = errors(made, contender(made, name))
    assert value < 1e-5
    assert gradient < 1e-4


def test_the_scaled_recursion_agrees_with_the_reference() -> None:
    made = TINY["hmm"]()
    value, gradient = errors(made, contender(made, "scaled"))
    assert value < 1e-5
    assert gradient < 1e-4
