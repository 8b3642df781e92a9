"""Maxima that Newton's method does not find: at a corner, and at infinity."""

from itertools import combinations
from math import inf, log
from typing import Any

import torch

from benchmarks.classical.reference.model import matrix, read


def stackloss_laplace() -> dict[str, Any]:
    """Least absolute deviations with four coefficients go through four of the rows (Barrodale and Roberts 1973): all are tried.
    Given the sum S of the deviations, the scale is S / n."""
    data = read("stackloss_laplace")
    y = data["y"]
    X = torch.cat([torch.ones(len(y), 1, dtype=y.dtype), matrix(data, "y")], 1)
    best, at = inf, X[0]
    for rows in combinations(range(len(y)), 4):
        chosen = X[list(rows)]
        if torch.linalg.matrix_rank(chosen) < 4:
            continue
        beta = torch.linalg.solve(chosen, y[list(rows)])
        if (found := float((y - X @ beta).abs().sum())) < best:
            best, at = found, beta
    n, scale = len(y), best / len(y)
    params = {"a": float(at[0]), "w": at[1:].tolist(), "s": scale}
    return {"args": ["--columns", "x=air,water,acid"], "log_lik": -n * log(2 * scale) - n, "regular": False, "params": params}


def iris_separated() -> dict[str, Any]:
    """Petals of up to 1.9 cm on one side, from 3.0 on the other: the likelihood comes as close to 1 as one likes."""
    return {"args": [], "log_lik": 0.0, "regular": False}


CORNERS = {"stackloss_laplace": stackloss_laplace, "iris_separated": iris_separated}
