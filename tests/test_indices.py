"""Indices go by type: random tables in plates opened in any order, read in any spelling, against sums in plain loops."""

import types

import pytest
import torch
from random_tables import Draft, drawn, log_prob_of, random_batch
from torch import nn

from vispec.compile import class_of, compile_spec
from vispec.diagnostics import SpecError
from vispec.source import Source


def module_of(text: str) -> nn.Module:
    code = compile_spec(Source("tables.vispec", text))
    space = types.ModuleType("tables").__dict__
    exec(code, space)
    return space[class_of(code)]().double()


def compiled(draft: Draft) -> tuple[nn.Module, str, bool]:
    """The module in a random spelling; where that can be read in two ways, or cannot be told, with every index in its place."""
    text = draft.text(plain=False)
    try:
        return module_of(text), text, True
    except SpecError as error:
        assert {d.code for d in error.diagnostics if d.severity == "error"} <= {"V217", "V218"}, (text, error)
    text = draft.text(plain=True)
    return module_of(text), text, False


def compare(seed: int) -> bool:
    """Compare log p and its gradients; whether the first spelling was understood."""
    draft = drawn(seed)
    torch.manual_seed(seed)
    module, text, understood = compiled(draft)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    batch = random_batch(draft, 2)
    shared = tuple(value.detach().requires_grad_() for value in module.shared()) if hasattr(module, "shared") else ()
    latents = [table.name for table in draft.tables if table.role == "latent"]
    read = {r.table.name for o in draft.outcomes for _, r in o.terms} | {"m9"}
    lets = [table for table in draft.tables if table.role == "let" and table.name in read]
    kept = [name for name in latents if name in read | {r.table.name for let in lets for _, r in let.terms}]
    tables = {table.name: getattr(module, table.name) for table in draft.tables if table.role == "param"}
    tables |= dict(zip(kept, shared[:-1], strict=True)) if shared else {}
    own = module.log_prob(batch, shared) if shared else module.log_prob(batch)  # pyright: ignore[reportCallIssue]
    meant = torch.stack([log_prob_of(draft, batch, row, tables) for row in range(2)])
    torch.testing.assert_close(own.detach(), meant.detach(), rtol=1e-11, atol=1e-11, msg=lambda m: f"{text}\n{m}")
    assert own.requires_grad == meant.requires_grad, text
    if not own.requires_grad:
        return understood
    by = [*module.parameters(), *shared[:-1]]
    left, right = (torch.autograd.grad(each.sum(), by, materialize_grads=True, allow_unused=True) for each in (own, meant))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9, msg=lambda m: f"{text}\n{m}")
    return understood


@pytest.mark.parametrize("part", range(4))
def test_random_tables(part: int) -> None:
    understood = [compare(seed) for seed in range(40 * part, 40 * (part + 1))]
    assert sum(understood) > 30
