"""Every program of the benchmarks computes what its float64 reference does, at tiny sizes; the emitted module among them."""

from collections.abc import Callable

import pytest

from benchmarks.programs import WORKLOADS, factorial, hmm, ibm1, mixed, mixture, rationale, topics, vae
from benchmarks.workload import Workload, contender, errors

TINY: dict[str, Callable[[], Workload]] = {
    "mixture": lambda: mixture.workload(rows=7, dims=3, components=4),
    "ibm1": lambda: ibm1.workload(pairs=3, words=5, types=13, embed=64, hidden=128),
    "vae": lambda: vae.workload(rows=5, pixels=784, hidden=400, code=3),
    "hmm": lambda: hmm.workload(rows=3, steps=9, states=4, types=11),
    "rationale": lambda: rationale.workload(rows=3, words=5, types=11),
    "mixed": lambda: mixed.workload(rows=6, dims=5, code=3, classes=4),
    "factorial": lambda: factorial.workload(rows=3, steps=7, states=3, dims=4),
    "topics": lambda: topics.workload(documents=4, words=9, types=13, topics=5),
}


@pytest.mark.parametrize("name", TINY)
def test_programs_agree_with_the_reference(name: str) -> None:
    workload = TINY[name]()
    for program in workload.names:
        value, gradient = errors(workload, contender(workload, program))
        assert value < 1e-5, program
        assert gradient < 1e-4, program


def test_every_workload_is_checked_and_has_a_baseline() -> None:
    assert {name.split("-")[0] for name in WORKLOADS} == set(TINY)
    assert all("hand" in make().programs for make in TINY.values())
