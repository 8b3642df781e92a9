"""What is said where the log-probability has an edge: the gradient is not 0 there, and still no step rises."""

import math

import torch

from vispec.train.estimates.make import arrival
from vispec.train.estimates.uncertainty.information import probe
from vispec.train.estimates.uncertainty.standard import Standard


def edged(x):
    """Falls up to 0 and is infinite beyond, and its derivative: as minus log p of a scale up to the least of the data."""
    if float(x) > 0:
        return math.inf, torch.full_like(x, math.nan)
    return 40 * float(torch.log1p(x.square()) - 2 * x), 40 * (2 * x / (1 + x.square()) - 2)


def missed(at):
    x = torch.tensor([at], dtype=torch.float64)
    value, gradient = edged(x)
    return probe(edged, x, value, gradient, torch.tensor([False]), 1e-2).misses


def test_an_edge_is_no_missed_maximum():
    assert math.isnan(missed(-1e-7))
    said = arrival(Standard(-1.0, None, missed(-1e-7), {}))
    assert said is not None
    assert "edge or a kink" in said


def test_a_rise_before_the_edge_is_missed():
    assert missed(-0.5) > 1e-2
