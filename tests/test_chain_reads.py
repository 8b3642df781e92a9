"""Along a chain: what is given at other elements, parameters of a chain with a size, lets of the past, ragged plates inside.

Each law's location is worked out in a plain loop; draws by its mean follow it, and log p is the sum of its densities."""

import math
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vispec.compile import class_of, compile_spec
from vispec.source import Source

Locs = Callable[[dict[str, Tensor], dict[str, Tensor], int, int], Tensor]
"""(batch, parameters, row, t) → the location of y there."""

CASES: dict[str, tuple[str, Locs]] = {
    "lagged given": (
        "param c : real\nplate n:\n    chain t:\n        given u : real\n"
        "        observed y : real ~ Normal(0, 1) then Normal(c * u[t-1], 1)\n",
        lambda b, p, n, t: p["c"] * b["u"][n, t - 1] if t else torch.zeros(()),
    ),
    "two steps back, and now": (
        "param c : real\nplate n:\n    chain t:\n        given u : real\n"
        "        observed y : real ~ Normal(u, 1) then Normal(u[t-1], 1) then Normal(c * u[t-2] + u - u[t-1], 1)\n",
        lambda b, p, n, t: b["u"][n, 0] if t < 2 else p["c"] * b["u"][n, t - 2] + b["u"][n, t] - b["u"][n, t - 1],
    ),
    "less its mean": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n"
        "        observed y : real ~ Normal(a * (u - mean(u[*])), 1)\n",
        lambda b, p, n, t: p["a"] * (b["u"][n, t] - b["u"][n, : b["u_len"][n]].mean()),
    ),
    "so far": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n        let far = sum(u[<t])\n"
        "        observed y : real ~ Normal(0, 1) then Normal(a * far + 0.5 * y[t-1] + mean(u[<t]), 1)\n",
        lambda b, p, n, t: (
            p["a"] * b["u"][n, :t].sum() + 0.5 * b["y"][n, t - 1] + b["u"][n, :t].mean() if t else torch.zeros(())
        ),
    ),
    "past of a let": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n        let v = a * y + u * t\n"
        "        observed y : real ~ Normal(0, 1) then Normal(v[t-1], 1)\n",
        lambda b, p, n, t: (p["a"] * b["y"][n, t - 1] + b["u"][n, t - 1] * (t - 1)) if t else torch.zeros(()),
    ),
    "past of a let of a let": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n        let w = mean(u[*]) + y\n"
        "        let v = a * w\n"
        "        observed y : real ~ Normal(0, 1) then Normal(0, 1) then Normal(v[t-2], 1)\n",
        lambda b, p, n, t: p["a"] * (b["u"][n, : b["u_len"][n]].mean() + b["y"][n, t - 2]) if t > 1 else torch.zeros(()),
    ),
    "past of a let of a prefix": (
        "plate n:\n    chain t:\n        given u : real\n        let v = sum(y[<t])\n"
        "        observed y : real ~ Normal(0, 1) then Normal(v[t-1], 1)\n",
        lambda b, p, n, t: b["y"][n, : max(t - 1, 0)].sum(),
    ),
    "ragged inside": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n        plate shot:\n            given x : real\n"
        "        observed y : real ~ Normal(a * sum(x[*]) + mean(x[*]) + |x|, 1)\n",
        lambda b, p, n, t: (
            p["a"] * b["x"][n, t, : b["x_len"][n, t]].sum()
            + b["x"][n, t, : b["x_len"][n, t]].sum() / max(1, int(b["x_len"][n, t]))
            + b["x_len"][n, t]
        ),
    ),
    "pointed at along the chain": (
        "param a : real\nplate n:\n    chain t:\n        given u : real\n        given far : index[t]\n"
        "        observed y : real ~ Normal(a * u[far], 1)\n",
        lambda b, p, n, t: p["a"] * b["u"][n, b["far"][n, t]],
    ),
}
SIZED: dict[str, tuple[str, Locs]] = {
    "parameter of each element": (
        "size T = 4\nchain t[T]: param phi : real\nplate n:\n    chain t:\n"
        "        observed y : real ~ Normal(phi, 1) then Normal(phi * y[t-1], 1)\n",
        lambda b, p, n, t: p["phi"][t] * b["y"][n, t - 1] if t else p["phi"][0],
    ),
    "its past, and one pointed at": (
        "size T = 4\nchain t[T]: param phi : real\nplate n:\n    chain t:\n        given at : index[t]\n"
        "        observed y : real ~ Normal(phi[at], 1) then Normal(phi[t-1] + phi[at], 1)\n",
        lambda b, p, n, t: p["phi"][b["at"][n, t]] + (p["phi"][t - 1] if t else 0),
    ),
    "in two plates, the chain last or first": (
        "size T = 4\nplate k[2]:\n    chain t[T]:\n        param phi : real\nchain t:\n    plate k:\n        param psi : real\n"
        "plate n:\n    given c : index[k]\n    chain t:\n"
        "        observed y : real ~ Normal(phi[c], 1) then Normal(phi[c] + psi[c] * y[t-1], 1)\n",
        lambda b, p, n, t: p["phi"][b["c"][n], t] + (p["psi"][t, b["c"][n]] * b["y"][n, t - 1] if t else 0),
    ),
}


def batch_of(text: str, sized: bool) -> dict[str, Tensor]:
    """Two rows, of four elements and, in a ragged chain, of three."""
    length, one = torch.tensor([4, 3]), torch.Generator().manual_seed(3)
    batch = {name: torch.randn(2, 4, generator=one, dtype=torch.float64) for name in ("u", "y")}
    batch |= {"x": torch.randn(2, 4, 3, generator=one, dtype=torch.float64), "c": torch.tensor([1, 0])}
    batch |= {"far": torch.tensor([[3, 0, 1, 2], [2, 2, 0, 0]]), "at": torch.tensor([[3, 0, 1, 2], [2, 2, 0, 3]])}
    batch |= {"u_len": length, "x_len": torch.tensor([[3, 0, 1, 2], [2, 1, 3, 0]])}
    if sized:
        batch.pop("u_len")
    return {name: value for name, value in batch.items() if f" {name.removesuffix('_len')} :" in text}


@pytest.mark.parametrize("name", [*CASES, *SIZED])
def test_locations(name: str) -> None:
    text, loc = (CASES | SIZED)[name]
    space = types.ModuleType("chain").__dict__
    code = compile_spec(Source("chain.vispec", text))
    exec(code, space)
    module = space[class_of(code)]().double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    batch = batch_of(text, name in SIZED)
    parameters = dict(module.named_parameters())
    lengths = [4, 4] if name in SIZED else [4, 3]
    meant = [
        -0.5 * (batch["y"][n, t] - loc(batch, parameters, n, t)) ** 2 - 0.5 * math.log(2 * math.pi)
        for n in range(2)
        for t in range(lengths[n])
    ]
    own = module.log_prob(batch)
    rows = torch.stack([torch.stack(meant[: lengths[0]]).sum(), torch.stack(meant[lengths[0] :]).sum()])
    torch.testing.assert_close(own, rows.to(own.dtype))
    by = list(module.parameters())
    left, right = (torch.autograd.grad(each.sum(), by, allow_unused=True) if by else () for each in (own, rows))
    torch.testing.assert_close(left, right)
    follows_its_mean(module, batch, loc, parameters, lengths)


def follows_its_mean(
    module: Any, batch: dict[str, Tensor], loc: Locs, parameters: dict[str, Tensor], lengths: list[int]
) -> None:
    """Generated by its mean, each element is at its law's location given those before."""
    given = {key: value for key, value in batch.items() if key != "y"}
    found = {**batch, "y": module.generate(2, given, {}, "mean")["y"]}
    for n in range(2):
        for t in range(lengths[n]):
            torch.testing.assert_close(found["y"][n, t], loc(found, parameters, n, t).to(found["y"].dtype).detach())
