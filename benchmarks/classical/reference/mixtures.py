"""Latent classes, mixtures, and other latent values of a row."""

import math

import torch

from benchmarks.classical.reference.laws import bernoulli, gamma, mixed, normal, poisson
from benchmarks.classical.reference.model import matrix, reference


@reference(safe="unit", rate="positive")
def cholera_zip(d, safe, rate):
    x = d["cases"]
    return torch.where(x == 0, (safe + (1 - safe) * (-rate).exp()).log(), torch.log1p(-safe) + poisson(x, rate.log())).sum()


@reference(pi="simplex 2", rate="positive 2", start={"rate": [1.0, 3.0]}, starts=5, spread=0.5)
def deaths_poissons(d, pi, rate):
    return mixed(pi, poisson(d["deaths"][:, None], rate.log()))


@reference("--columns x=value,capital", pi="simplex 2", a="real 2", w="real 2 2", s="positive 2",
           start={"s": [20.0, 150.0], "w": [[0.1, 0.1], [0.1, 0.2]]}, starts=60,
           proper=lambda p: bool((p["s"] > 1).all()))  # fmt: skip
def grunfeld_mixture(d, pi, a, w, s):
    return mixed(pi, normal(d["y"][:, None], a + matrix(d, "y") @ w.T, s))


@reference(pi="simplex 2", mu="real 2", s="positive 2", start={"mu": [0.63, 0.65], "s": [0.02, 0.02]}, starts=10, spread=0.02)
def crabs_mixture(d, pi, mu, s):
    return mixed(pi, normal(d["x"][:, None], mu, s))


@reference("--columns y=*", pi="simplex 3", p="unit 3 7", starts=40)
def carcinoma_lca(d, pi, p):
    return mixed(pi, bernoulli(matrix(d)[:, None], p).sum(-1))


@reference("--columns y=*", pi="simplex 3", p="unit 3 4", starts=20)
def roles_lca(d, pi, p):
    return mixed(pi, bernoulli(matrix(d)[:, None], p).sum(-1))


@reference(prevalence="simplex 4", confusion="simplex 5 4 4", start={"confusion": (torch.eye(4) * 9 + 1) / 13}, starts=40)
def anaesthetists(d, prevalence, confusion):
    seen = torch.zeros(len(d["label"]), *confusion.shape[:1], 4, dtype=torch.float64)
    for patient, labels in enumerate(d["label"]):
        for observer, readings in enumerate(labels):
            for reading in readings:
                seen[patient, observer, reading] += 1
    return mixed(prevalence, torch.special.xlogy(seen[:, :, None], confusion).sum((1, 3)))


@reference(gene="simplex 3")
def blood_groups(d, gene):
    a, b, o = gene
    chances = torch.stack([o * o, b * b + 2 * b * o, a * a + 2 * a * o, 2 * a * b])
    return chances.log()[(2 * d["a"] + d["b"]).long()].sum()


@reference("--columns y=*", theta="unit")
def linkage(d, theta):
    y = matrix(d)[0]
    p = torch.stack([2 + theta, 1 - theta, 1 - theta, theta]) / 4
    return torch.lgamma(y.sum() + 1) - torch.lgamma(y + 1).sum() + (y * p.log()).sum()


@reference(pi="simplex 2", mu="real 2", kappa="positive 2", start={"mu": [1.1, 4.2], "kappa": 3.0}, starts=10, spread=0.5)
def turtles_vonmises(d, pi, mu, kappa):
    log_i0 = torch.special.i0e(kappa).log() + kappa
    return mixed(pi, kappa * (d["x"][:, None] - mu).cos() - log_i0 - math.log(2 * math.pi))


@reference(pi="simplex 2", shape="positive 2", rate="positive 2", start={"shape": [50.0, 80.0], "rate": [25.0, 20.0]},
           starts=10, spread=0.3)  # fmt: skip
def geyser_gammas(d, pi, shape, rate):
    return mixed(pi, gamma(d["x"][:, None], shape, rate))
