"""Chains: hidden Markov models, autoregressions, change points, capture and recapture."""

from collections import Counter
from math import log

import torch

from benchmarks.classical.reference.laws import chain, normal, poisson
from benchmarks.classical.reference.model import reference


@reference(init="simplex 2", trans="simplex 2 2", mu="real 2", s="positive 2", start={"mu": [55.0, 80.0], "s": [6.0, 6.0]},
           starts=10)  # fmt: skip
def geyser_hmm(d, init, trans, mu, s):
    return chain(init, trans, normal(d["x"][:, None], mu, s))


@reference(init="simplex 3", trans="simplex 3 3", mu="real 3 2", s="positive 2",
           start={"mu": [[4.0, 4.5], [3.0, 6.0], [-2.0, 8.0]], "s": [3.0, 1.0]},
           starts=25)  # fmt: skip
def macro_hmm(d, init, trans, mu, s):
    return chain(init, trans, normal(d["x"][:, None], mu, s).sum(-1))


@reference(phi="real", s="positive", trans="simplex 2 2", mu="real 2", start={"mu": [-0.3, 1.2], "phi": 0.2}, starts=20)
def gnp_switching(d, phi, s, trans, mu):
    x = d["x"]
    means = mu + phi * (x[:-1, None, None] - mu[:, None])  # (T - 1, state before, state)
    seen = torch.cat([torch.zeros(1, 2, 2, dtype=x.dtype), normal(x[1:, None, None], means, s)])
    return chain(torch.full((2,), 0.5, dtype=x.dtype), trans, seen)


@reference(c="real", a="real", b="real", s="positive", start={"s": 20.0})
def sunspots_ar(d, c, a, b, s):
    x = d["x"]
    return normal(x[2:], c + a * x[1:-1] + b * x[:-2], s).sum()


@reference(c="real", phi="real", a0="positive", a1="positive", start={"c": 1.0, "phi": 0.7, "a1": 0.3}, starts=5, spread=0.3)
def inflation_arch(d, c, phi, a0, a1):
    x = d["x"]
    shock = x[1:] - c - phi * x[:-1]
    return normal(shock[1:], torch.zeros_like(shock[1:]), (a0 + a1 * shock[:-1] ** 2).sqrt()).sum()


@reference(a="positive", b="positive", start={"a": 10.0, "b": 0.5})
def quakes_ingarch(d, a, b):
    return poisson(d["x"][1:], (a + b * d["x"][:-1]).log()).sum()


@reference(early="positive", late="positive", starts=5)
def coal_change_point(d, early, late):
    x, T = d["x"], len(d["x"])
    before = torch.cat([torch.zeros(1, dtype=x.dtype), poisson(x, early.log()).cumsum(0)])[:-1]  # of those before t
    after = poisson(x, late.log()).flip(0).cumsum(0).flip(0)
    return torch.logsumexp(before + after, 0) - log(T)


def capture(d, phi, p):
    """phi and p (Y,), by the year of each step after a release. Equal rows are computed once."""
    years = d.get("year", [range(len(seen)) for seen in d["x"]])
    rows = Counter((tuple(when), tuple(seen)) for when, seen in zip(years, d["x"], strict=True))
    told = [times * release(phi[list(when)], p[list(when)], seen[-1]) for (when, seen), times in rows.items()]
    return torch.stack(told).sum()


def release(phi, p, seen):
    """log p of what follows one release, step by step: caught at the last step, or never."""
    if seen:
        return phi.log().sum() + torch.log1p(-p[:-1]).sum() + p[-1].log()
    never = torch.ones((), dtype=phi.dtype)
    for survives, caught in zip(phi.flip(0), p.flip(0), strict=True):
        never = 1 - survives + survives * (1 - caught) * never
    return never.log()


@reference(phi="unit", p="unit")
def dippers(d, phi, p):
    return capture(d, phi.expand(6), p.expand(6))


@reference(phi="unit 6", p="unit 6", start={"p": 0.9})
def dippers_by_year(d, phi, p):
    return capture(d, phi, p)


@reference(first="simplex 2", second="simplex 2 2", third="simplex 2 2 2")
def geyser_markov(d, first, second, third):
    x = d["x"].long()
    return first[x[0]].log() + second[x[0], x[1]].log() + third[x[:-2], x[1:-1], x[2:]].log().sum()
