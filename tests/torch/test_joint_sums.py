"""Sums over joint values by the program: in chunks as at once, with their gradients and what a posterior asks."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.source import Source

SPECS = Path(__file__).parents[2] / "specs"


def made(name: str, sizes: dict[str, int], memory: int) -> torch.nn.Module:
    text = compile_spec(Source.read(str(SPECS / f"{name}.vispec")), sizes, memory)
    namespace: dict = {}
    exec(text, namespace)
    torch.manual_seed(0)
    return namespace["".join(word.title() for word in name.split("_"))]().double()


def batch(name: str) -> dict[str, Tensor]:
    if name == "noisy_or":
        return {"x": (torch.arange(15).view(5, 3) % 4 < 2).double()}
    words = torch.arange(12).view(2, 6) % 5
    return {"y": words, "y_len": torch.tensor([6, 3]), "x": torch.tensor([1, 4])}


@pytest.mark.parametrize(("name", "sizes", "latent"), [("noisy_or", {"K": 8, "D": 3}, "z"), ("rationale", {"V": 5}, "f")])
def test_less_memory_means_more_chunks_and_the_same_numbers(name: str, sizes: dict[str, int], latent: str) -> None:
    found, chunks = list[list[Tensor]](), list[int]()
    for memory in (2**30, 40_000):
        module, data = made(name, sizes, memory), batch(name)
        honest: Callable[..., Tensor] = getattr(module, f"log_joint_of_{latent}")
        calls = list[int]()
        setattr(module, f"log_joint_of_{latent}", lambda index, *read: calls.append(len(index)) or honest(index, *read))  # noqa: B023
        log_prob = module.log_prob(data)
        gradients = torch.autograd.grad(log_prob.sum(), [*module.parameters()])
        found.append([log_prob, *gradients, module.posterior(data)[latent]])
        chunks.append(len(calls))
    assert chunks[0] == 2  # for log_prob and for posterior
    assert chunks[1] > 3
    torch.testing.assert_close(found[1], found[0], rtol=1e-10, atol=1e-12)
