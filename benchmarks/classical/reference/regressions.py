"""Generalised linear models, survival, choices, tables."""

import math

import torch

from benchmarks.classical.reference.laws import choose, logistic, normal, poisson
from benchmarks.classical.reference.model import matrix, reference


@reference("--columns x=SIZE..BILLS103", a="real", w="real 5", r="positive", start={"a": 3.0})
def committee_negbin(d, a, w, r):
    y, mean = d["y"], (a + matrix(d, "y") @ w).exp()
    of_r = torch.lgamma(y + r) - torch.lgamma(r) - torch.lgamma(y + 1)
    return (of_r + r * (r / (r + mean)).log() + y * (mean / (r + mean)).log()).sum()


@reference("--columns x=COUTAX..COUTAX_FEMALEUNEMP", a="real", w="real 7", k="positive", start={"a": 4.0, "k": 10.0})
def scotland_gamma(d, a, w, k):
    y, log_mean = d["y"], a + matrix(d, "y") @ w
    return (k * (k.log() - log_mean) + (k - 1) * y.log() - k * y * (-log_mean).exp() - torch.lgamma(k)).sum()


@reference(a="real", b="real", c="real", phi="positive", start={"phi": 10.0})
def food_beta(d, a, b, c, phi):
    mean, y = torch.sigmoid(a + b * d["income"] + c * d["persons"]), d["share"]
    one, zero = phi * mean, phi * (1 - mean)
    of_phi = torch.lgamma(phi) - torch.lgamma(one) - torch.lgamma(zero)
    return (of_phi + (one - 1) * y.log() + (zero - 1) * torch.log1p(-y)).sum()


@reference("--columns x=logpopul..income", w="real 6", cuts="ordered 6", start={"cuts": [-2.0, -1, -0.5, 0, 0.5, 1]})
def anes_ordinal(d, w, cuts):
    ends = torch.cat([cuts.new_tensor([-math.inf]), cuts, cuts.new_tensor([math.inf])])
    eta, y = matrix(d, "y") @ w, d["y"].long()
    return (torch.sigmoid(ends[y + 1] - eta) - torch.sigmoid(ends[y] - eta)).log().sum()


@reference(w="real 6")
def travel_mode(d, w):
    u = torch.tensor(d["x"], dtype=w.dtype) @ w  # (n, modes)
    return u.log_softmax(-1).gather(1, torch.tensor(d["choice"])[:, None]).sum()


@reference(a="real", b="real", start={"a": -39.0, "b": 22.0})
def beetles_cloglog(d, a, b):
    n, alive, rate = d["insects"], d["alive"], (a + b * d["dose"]).exp()
    return (choose(n, alive) - alive * rate + (n - alive) * (-torch.expm1(-rate)).log()).sum()


@reference(a="real", b="real", c="real", start={"a": 3.0})
def leukaemia_exponential(d, a, b, c):
    log_mean = a + b * d["ag"] + c * d["cells"]
    return (-log_mean - d["weeks"] * (-log_mean).exp()).sum()


@reference("--columns x=air,water,acid", a="real", w="real 3", s="positive", nu="positive",
           start={"a": -40.0, "w": [0.7, 1.0, -0.1], "s": 2.0, "nu": 3.0}, starts=10, spread=0.2)  # fmt: skip
def stackloss_student(d, a, w, s, nu):
    z = (d["y"] - a - matrix(d, "y") @ w) / s
    return (torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * (nu * math.pi).log() - s.log()
            - (nu + 1) / 2 * torch.log1p(z**2 / nu)).sum()  # fmt: skip


@reference(ability="real 7")
def baseball_bradley_terry(d, ability):
    n, won = d["games"], d["won"]
    eta = ability[d["i"].long()] - ability[d["j"].long()]
    return (choose(n, won) + won * logistic(torch.ones_like(n), eta) + (n - won) * logistic(torch.zeros_like(n), eta)).sum()


@reference(c="real", d="real", a="real 5", b="real 4", start={"c": -6.0})
def ships_poisson(data, c, d, a, b):
    effects = c + a[data["type"].long()] + b[data["built"].long()] + d * data["late"]
    return poisson(data["incidents"], data["service"].log() + effects).sum()


@reference("--columns who=who", value_slope="real", capital_slope="real", a="real 10", s="positive 10", start={"s": 100.0})
def grunfeld_firms(d, value_slope, capital_slope, a, s):
    who = d["who"].long()
    return normal(d["invest"], a[who] + value_slope * d["value"] + capital_slope * d["capital"], s[who]).sum()


@reference(cured="unit", a="real", b="real", k="positive", start={"cured": 0.3, "a": 3.0, "b": -0.3}, starts=8, spread=0.5)
def larynx_cure(d, cured, a, b, k):
    log_scale = a + b * d["stage"]
    log_survival = -((d["time"].log() - log_scale) * k).exp()
    log_density = k.log() + (k - 1) * d["time"].log() - k * log_scale + log_survival
    living = (cured + (1 - cured) * log_survival.exp()).log()
    return torch.where(d["died"] == 1, torch.log1p(-cured) + log_density, living).sum()


@reference("--columns x=*", mu="real 7", L="cholesky 7")
def longley_normal(d, mu, L):
    z = torch.linalg.solve_triangular(L, (matrix(d) - mu).T, upper=False)
    return (-0.5 * (z**2).sum(0) - L.diagonal().log().sum() - 3.5 * math.log(2 * math.pi)).sum()


@reference(alpha="positive 4", start={"alpha": [40.0, 20.0, 20.0, 6.0]})
def iris_dirichlet(d, alpha):
    x = matrix(d)
    return len(x) * (torch.lgamma(alpha.sum()) - torch.lgamma(alpha).sum()) + ((alpha - 1) * x.log()).sum()


@reference(mu="real", s="positive", start={"mu": 3.9, "s": 0.2})
def port_pirie_gumbel(d, mu, s):
    z = (d["level"] - mu) / s
    return (-z - (-z).exp() - s.log()).sum()


@reference(loc="real", scale="positive", start={"loc": 24.0, "scale": 20.0})
def darwin_cauchy(d, loc, scale):
    return (-torch.log1p(((d["x"] - loc) / scale) ** 2) - scale.log() - math.log(math.pi)).sum()


@reference(s="positive", b="real", r="positive", starts=10)
def murray_normal(d, s, b, r):
    has_x, has_y = d["has_x"] == 1, d["has_y"] == 1
    x, y = d["x"], d["y"]
    alone = normal(y, torch.zeros_like(y), ((b * s) ** 2 + r**2).sqrt())
    of_y = torch.where(has_x, normal(y, b * x, r), alone)
    return (torch.where(has_x, normal(x, torch.zeros_like(x), s), 0.0) + torch.where(has_y, of_y, 0.0)).sum()
