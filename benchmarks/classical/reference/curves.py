"""Nonlinear regressions with normal errors; most are NIST's, whose certified sums of squares give the maximum."""

import torch

from benchmarks.classical.reference.laws import normal
from benchmarks.classical.reference.model import reference


@reference(a="real", b="real", s="positive", start={"a": 250.0, "b": 5e-4})
def misra1a(d, a, b, s):
    return normal(d["y"], a * -torch.expm1(-b * d["x"]), s).sum()


@reference(a="real", b="real", c="real", d="real", s="positive", start={"a": 0.25, "b": 0.39, "c": 0.415, "d": 0.39, "s": 0.1})
def mgh09(data, a, b, c, d, s):
    x = data["x"]
    return normal(data["y"], a * (x**2 + x * b) / (x**2 + x * c + d), s).sum()


@reference(a="real 4", b="real 3", s="positive", start={"a": [1300.0, 1500, 500, 75], "b": [1.0, 0.4, 0.05], "s": 10.0})
def thurber(d, a, b, s):
    x = d["x"]
    below = 1 + b[0] * x + b[1] * x**2 + b[2] * x**3
    return normal(d["y"], (a[0] + a[1] * x + a[2] * x**2 + a[3] * x**3) / below, s).sum()


@reference(a="real", b="real", c="real", s="positive", start={"a": 75.0, "b": 2.5, "c": 0.07})
def rat42(d, a, b, c, s):
    return normal(d["y"], a / (1 + (b - c * d["x"]).exp()), s).sum()


@reference(a="real", b="real", s="positive", start={"a": 200.0, "b": 0.5, "s": 10.0})
def boxbod(d, a, b, s):
    return normal(d["y"], a * -torch.expm1(-b * d["x"]), s).sum()


@reference(a="positive", b="real", c="real", s="positive", start={"a": 5.6e-3, "b": 6181.0, "c": 345.2, "s": 10.0})
def mgh10(d, a, b, c, s):
    return normal(d["y"], a * (b / (d["x"] + c)).exp(), s).sum()


@reference(s="positive", a="real 3", b="real 3", start={"a": [0.0868, 0.844, 1.58], "b": [0.955, 2.95, 4.99], "s": 1e-3})
def lanczos3(d, s, a, b):
    return normal(d["y"], (a * (-b * d["x"][:, None]).exp()).sum(-1), s).sum()


@reference(v="positive", k="positive", s="positive", start={"v": 200.0, "k": 0.05, "s": 10.0})
def puromycin(d, v, k, s):
    return normal(d["rate"], v * d["dose"] / (k + d["dose"]), s).sum()
