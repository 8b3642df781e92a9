"""The program of an order: its steps on the factors' nodes."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.plan.order.order import Order
from vispec.program.node import Node


def execute(order: Order, factors: Mapping[str, Node], algebra: str = "log_sum_exp") -> Node:
    """log Σ of the product of the factors, in nats, along the kept axes.

    factors: by name, those that the order was found for; each may be another node that reads the same latents, with a tilt
    added say. algebra: "total" sums under that of a query."""
    values = dict(factors)
    for step in order.steps:
        values[step.output] = step.build(values, algebra)
    return values[order.steps[-1].output]
