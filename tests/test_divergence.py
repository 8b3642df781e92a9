"""KL between posteriors, of each value and of all: against brute force in logs, also where a probability is no number."""

import random
from itertools import pairwise, product

import pytest
import torch

from vispec.compile import class_of, compile_spec
from vispec.source import Source

SPECS = {
    "plate": """plate k[{K}]:
    param m : real
plate n:
    latent d : index[k] ~ Uniform()
    plate t:
        latent   c : index[k] ~ Uniform()
        observed x : real ~ Normal(m[c] + m[d], 1)
""",
    "chain": """param init : simplex[{K}]
plate k[{K}]:
    param m : real
    param trans : simplex[{K}]
plate n:
    chain t:
        latent   c : index[k] ~ Categorical(init) then Categorical(trans[c[t-1]])
        observed x : real ~ Normal(m[c], 1)
""",
    "single": """plate k[{K}]:
    param m : real
plate n:
    latent   c : index[k] ~ Uniform()
    observed x : real ~ Normal(m[c], 1)
""",
}


def log_joints(name: str, module, x: torch.Tensor) -> tuple[torch.Tensor, list[list[int]]]:
    """Of every assignment (d first where there is one), and the assignments."""
    K, T = len(module.m), len(x)
    count = T + (name == "plate")
    every = [list(values) for values in product(range(K), repeat=count)]
    found = []
    for values in every:
        d, c = (values[0], values[1:]) if name == "plate" else (None, values)
        mean = module.m[c] + (module.m[d] if d is not None else 0)
        total = torch.distributions.Normal(mean, 1.0).log_prob(x).sum()
        if name == "chain":
            total = total + module.init[c[0]].log() + sum(module.trans[a, b].log() for a, b in pairwise(c))
        found.append(total)
    return torch.stack(found).detach(), every


def brute_force(name: str, p, q, x: torch.Tensor) -> tuple[list[float], float]:
    """KL of each element, and of all."""
    (log_p, every), (log_q, _) = log_joints(name, p, x), log_joints(name, q, x)
    log_p, log_q = log_p - log_p.logsumexp(0), log_q - log_q.logsumexp(0)
    each = []
    for place in range(len(every[0])):
        groups = [torch.tensor([values[place] == k for values in every]) for k in range(len(p.m))]
        parts = [(log_p[g].logsumexp(0), log_q[g].logsumexp(0)) for g in groups]
        each.append(float(sum(a.exp() * (a - b) for a, b in parts if a > -torch.inf)))
    return each, float((log_p.exp() * (log_p - log_q)).nan_to_num().sum())


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("seed", range(6))
def test_divergences_are_told_in_logs(name: str, seed: int) -> None:
    rng = random.Random(f"{name}{seed}")
    code = compile_spec(Source("m.vispec", SPECS[name].format(K=rng.choice([2, 3]))))
    namespace: dict = {}
    exec(code, namespace)
    torch.manual_seed(seed)
    p, q = (namespace[class_of(code)]().double() for _ in range(2))
    scale = rng.choice([1.0, 15.0, 40.0])
    with torch.no_grad():
        for module in (p, q):
            module.m.copy_(scale * torch.randn_like(module.m))
    lengths = torch.tensor([1, 3, 2]) if name != "single" else None
    x = scale * torch.randn(*((3, 3) if name != "single" else (3,)), dtype=torch.float64)
    batch = {"x": x} | ({} if lengths is None else {"x_len": lengths})
    expected = [
        brute_force(name, p, q, x[row, : int(lengths[row])] if lengths is not None else x[row : row + 1]) for row in range(3)
    ]
    for dtype, rel in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        one, other = p.to(dtype), q.to(dtype)
        got = one.posterior({k: v.to(dtype) if v.is_floating_point() else v for k, v in batch.items()}, query="kl", other=other)
        for row, (each, of_all) in enumerate(expected):
            assert float(got["(joint)"][row]) == pytest.approx(of_all, rel=rel, abs=1e-4 if dtype == torch.float32 else 1e-10)
            found = [got["d"][row].reshape(1)] if "d" in got else []
            found = torch.cat([*found, got["c"][row].reshape(-1)])[: len(each)]
            assert found.tolist() == pytest.approx(each, rel=rel, abs=1e-4 if dtype == torch.float32 else 1e-10)
            assert float(found.max()) <= float(got["(joint)"][row]) * (1 + rel) + 1e-4


def test_two_peaks_the_other_way_round() -> None:
    code = compile_spec(Source("m.vispec", SPECS["single"].format(K=2)))
    namespace: dict = {}
    exec(code, namespace)
    for dtype, far in ((torch.float32, 15.0), (torch.float64, 15.0), (torch.float64, 40.0)):
        p, q = (namespace[class_of(code)]().to(dtype) for _ in range(2))
        with torch.no_grad():
            p.m.copy_(torch.tensor([0.0, far]))
            q.m.copy_(torch.tensor([far, 0.0]))
        got = p.posterior({"x": torch.zeros(1, dtype=dtype)}, query="kl", other=q)
        assert got["c"].item() == got["(joint)"].item() == far * far / 2
