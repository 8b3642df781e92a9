"""Random plated contractions: values, gradients and marginals are those of brute force."""

import pytest
import torch

from tests.plan.order.contractions import Contraction, Maker
from vispec.plan.order.execute import execute
from vispec.plan.order.order import order
from vispec.program import build
from vispec.program.interpreter.interpret import Array, run
from vispec.program.node import Input


def laid(found: Array, kept: list, shape: list[int]) -> torch.Tensor:
    return found.laid(tuple(kept)).expand(shape)


def check(made: Contraction) -> None:
    """One run of brute force and one of the order's program, differentiated both ways."""
    problem = made.problem
    kept = sorted(problem.kept, key=lambda axis: axis.serial)
    shape = [made.extent(axis) for axis in kept]
    factors, tilts = {factor.name: factor.node for factor in problem.factors}, {}
    for latent in problem.latents:
        axes = tuple(sorted({*latent.plates, latent.values}, key=lambda axis: axis.serial))
        tilts[latent.name] = torch.zeros([made.extent(axis) for axis in axes], dtype=torch.float64, requires_grad=True)
        made.inputs[f"tilt_{latent.name}"] = tilts[latent.name]
        factors[latent.law or ""] = build.add(factors[latent.law or ""], Input(f"tilt_{latent.name}", axes, "real", "batch"))
    tables = [table.input.name for each in made.made for table in each.tables]
    for name in tables:
        made.inputs[name].requires_grad_()
    total = execute(order(problem), factors)
    value = laid(run([total], made.world())[0], kept, shape)
    brute = made.brute()
    wanted = torch.stack([log_z for log_z, _ in brute.values()]).reshape(shape)
    torch.testing.assert_close(value.detach(), wanted.detach(), rtol=1e-10, atol=1e-10)
    possible = wanted > -torch.inf
    weights = torch.randn(shape, dtype=torch.float64) * possible
    inputs = [made.inputs[name] for name in tables]
    if not value.requires_grad:  # nothing has elements that count
        return
    found = torch.autograd.grad(
        (value * weights)[possible].sum(), [*inputs, *tilts.values()], allow_unused=True, retain_graph=True
    )
    parts = [log_z * weight for (log_z, _), weight in zip(brute.values(), weights.flatten(), strict=True) if log_z > -torch.inf]
    right = (
        torch.autograd.grad(torch.stack(parts).sum(), inputs, allow_unused=True)
        if any(part.requires_grad for part in parts)
        else [None] * len(inputs)
    )
    for name, one, other in zip(tables, found, right, strict=False):
        zero = torch.zeros_like(made.inputs[name])
        torch.testing.assert_close(
            zero if one is None else one, zero if other is None else other, rtol=1e-8, atol=1e-8, msg=name
        )
    for at, (log_z, marginals) in brute.items():
        if log_z == -torch.inf:
            continue
        row = torch.autograd.grad(value[at], list(tilts.values()), allow_unused=True, retain_graph=True)
        for latent, share in zip(problem.latents, row, strict=True):
            axes = sorted({*latent.plates, latent.values}, key=lambda axis: axis.serial)
            share = torch.zeros_like(tilts[latent.name]) if share is None else share
            for where in made.elements(tuple(latent.plates), dict(zip(kept, at, strict=True))):
                index = tuple(where.get(axis, slice(None)) for axis in axes)
                key = f"{latent.name} {[where[axis] for axis in axes if axis in latent.plates]}"
                torch.testing.assert_close(
                    share[index], marginals[key], rtol=1e-8, atol=1e-8, msg=lambda m, key=key: f"{key}: {m}"
                )


@pytest.mark.parametrize("seed", range(300))
def test_plates(seed: int) -> None:
    check(Maker(seed).contraction())


@pytest.mark.parametrize("seed", range(200))
def test_chains_pointers_and_joint_values(seed: int) -> None:
    check(Maker(seed, ("lag", "pointer", "joint")).contraction())
