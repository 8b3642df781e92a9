"""The workloads: for each, data, a reference in float64, and what people would write by hand in PyTorch."""

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.programs import factorial, hmm, ibm1, language, mixed, mixture, rationale, topics, vae
from benchmarks.workload import Workload

WORKLOADS: Mapping[str, Callable[[], Workload]] = {
    "mixture": partial(mixture.workload, rows=1024, dims=16, components=32),
    "ibm1": partial(ibm1.workload, pairs=64, words=25, types=10_000, embed=64, hidden=128),
    "vae": partial(vae.workload, rows=128, pixels=784, hidden=400, code=20),
    "iwae": partial(vae.weighted, rows=128, pixels=784, hidden=400, code=20),
    "hmm-64-64": partial(hmm.workload, rows=32, steps=64, states=64, types=500),
    "hmm-256-16": partial(hmm.workload, rows=32, steps=256, states=16, types=500),
    "hmm-1024-16": partial(hmm.workload, rows=32, steps=1024, states=16, types=500),
    "language": partial(language.workload, rows=64, words=35, types=10_000, hidden=512),
    "rationale": partial(rationale.workload, rows=8, words=16, types=1000),
    "mixed": partial(mixed.workload, rows=128, dims=64, code=8, classes=10),
    "factorial": partial(factorial.workload, rows=32, steps=64, states=8, dims=16),
    "topics": partial(topics.workload, documents=64, words=120, types=2000, topics=50),
}
