"""From a fitted module and its data to its estimates."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vispec.model.model import Model, Ref
from vispec.named import get, has, stored
from vispec.plan.guides import point_name, point_of
from vispec.plan.planned import Plan
from vispec.plan.planner import plan_of
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.estimates.entries import LEVEL, Words
from vispec.train.estimates.labels import Labels
from vispec.train.estimates.nodes import Node, nodes_of
from vispec.train.estimates.posterior import shared_latents
from vispec.train.estimates.uncertainty.numbers import Part, Whole
from vispec.train.estimates.uncertainty.standard import BOUND as EDGE
from vispec.train.estimates.uncertainty.standard import ENDLESS, KEPT, MISSES, Standard, standard_errors
from vispec.train.estimates.values import Estimate, Estimates, Folded
from vispec.train.scores.evaluate import Rows

Say = Callable[[str], None]

BOUND = "a bound and not a likelihood"
LISTED = "listed by --all"
MOST = 10_000  # numbers of one parameter that are listed one by one
LARGEST = 2_000  # numbers whose information is inverted
BUDGET = 120.0  # seconds that standard errors may take
EVALUATIONS = 16  # of the gradient for each number, about
NAMED = 5  # at the edge of their domain, in a sentence
SILENT = 2.0  # seconds of work that nothing is said about
AT_ONCE = 1024  # rows, or a minibatch of the fit where that is larger


@dataclass(frozen=True)
class Fitted:
    """A module at its best parameters on the CPU, and what its numbers are called. result: that of the fit, as in `fit --json`.
    batch: rows that its objective is sure to take at once."""

    model: Model
    module: nn.Module
    encoders: Encoders
    columns: Mapping[str, Sequence[str]]
    result: Mapping[str, Any]
    rows: int | float
    batch: int = 1
    say: Say = field(default=lambda text: None)


def make_estimates(fitted: Fitted, data: Rows | None, most: float = MOST) -> Estimates:
    """All estimates, with standard errors where the data are there and the objective is the log-probability itself, or with
    point estimates the joint one. most: numbers of one parameter that are listed one by one. The module is left in float64 and
    evaluation mode."""
    module, model = fitted.module.double().eval(), fitted.model
    plan = plan_of(model)
    nodes = nodes_of(model, module)
    nodes = [node for node in nodes if not node.derived] + points(plan, module) + [node for node in nodes if node.derived]
    listed = [node for node in nodes if size_of(node, module) <= most]
    standard, why = measure(fitted, listed, data) if plan.exact else (None, BOUND)
    words = Words(model, Labels.of(model, fitted.encoders, fitted.columns), listed, module)
    guided = shared_latents(plan, module, None if data is None else a_row(data))
    told = [latent for latent in guided if latent.mean.numel() <= most]
    entries = [entry for node in listed if not node.derived for entry in words.entries(node, standard, why)]
    entries += [entry for latent in told if not latent.derived for entry in words.posterior(latent)]
    entries += [entry for node in listed if node.derived for entry in words.entries(node, standard, why)]
    entries += [entry for latent in told if latent.derived for entry in words.posterior(latent)]
    large = {node.name: size_of(node, module) for node in nodes if node not in listed}
    large |= {latent.node.name: latent.mean.numel() for latent in guided if latent not in told}
    return summary(fitted, plan, standard, tuple(entries), tuple(folded(fitted, plan, large)))


def size_of(node: Node, module: nn.Module) -> int:
    return node.value(module).numel()


def a_row(data: Rows) -> dict[str, Tensor]:
    """A batch of one row, in float64."""
    return Part(data, torch.zeros(1, dtype=torch.int64)).batch([0])


def points(plan: Plan, module: nn.Module) -> list[Node]:
    """The latents that are point estimates of an objective without noise."""
    if not plan.exact:
        return []
    found: list[Node] = []
    for place, name in enumerate(plan.shared_latents):
        variable = plan.model.variable[name]
        if plan.treatments[name].gradient == "point":
            held = plan.model.param[point_name(variable, plan.model)]
            ends = not isinstance(point_of(variable, plan.model), Ref)
            own = (place, held.type.domain) if ends else (None, "")
            attribute = stored(module, plan.model, held)
            found.append(Node(name, variable.type, variable.plates, attribute, held.name, *own))
    return found


def measure(fitted: Fitted, nodes: Sequence[Node], data: Rows | None) -> tuple[Standard | None, str]:
    """Standard errors of these nodes, or the reason why there are none."""
    found = differentiable(fitted, data)
    if isinstance(found, str):
        return None, found
    return standard_errors(nodes, fitted.module, *found), ""


def differentiable(fitted: Fitted, data: Rows | None) -> tuple[Whole, Callable[[], None]] | str:
    """What second derivatives are taken of, and what says how long that takes; or the reason why it is not done."""
    module = fitted.module
    size = sum(p.numel() for p in module.parameters() if p.requires_grad)
    if data is None:
        return "the training data are not there"
    if size > LARGEST:
        return f"too many numbers for standard errors ({size})"
    if size == 0:
        return KEPT
    together = hasattr(module, "shared")  # what all rows share counts once
    parts = data.order(data.num_rows if together else max(AT_ONCE, fitted.batch), None, bucket=True)
    cost = seconds(Whole(module, data, parts[-1:])) * len(parts) * EVALUATIONS * size
    if cost > BUDGET:
        return f"too much work for standard errors ({size} numbers, about {cost:.0f} s)"

    def begun() -> None:
        if cost > SILENT:
            fitted.say(f"standard errors: {size} numbers, about {cost:.0f} s")

    return Whole(module, data, parts), begun


def seconds(f: Whole) -> float:
    """What one evaluation takes: the least of a few, for the first is slower, and others may be where the machine is busy."""
    took: list[float] = []
    for _ in range(5):
        began = time.monotonic()
        f(f.vector())
        took.append(time.monotonic() - began)
    return min(took)


def folded(fitted: Fitted, plan: Plan, large: Mapping[str, int]) -> list[Folded]:
    """Nets, one line each, and what has too many numbers to list."""
    found = [Folded(name=name, numbers=count, note=LISTED) for name, count in large.items()]
    for net in fitted.model.nets:
        if has(fitted.module, net.name):
            part = get(fitted.module, net.name)
            random = net.name in plan.bayesian_nets
            count = sum(p.numel() for p in part.parameters()) // (2 if random else 1)
            kind = "net, weights with a prior" if random else f"net, {KEPT}" if net.name in fitted.model.fixed else "net"
            found.append(Folded(name=net.name, numbers=count, note=kind))
    for table in fitted.model.embeddings:
        if has(fitted.module, table.name):
            kept = f", {KEPT}" if table.name in fitted.model.fixed else ""
            count = get(fitted.module, table.name).weight.numel()
            found.append(Folded(name=table.name, numbers=count, note=f"embedding{kept}"))
    return found


def summary(
    fitted: Fitted, plan: Plan, standard: Standard | None, entries: tuple[Estimate, ...], folded: tuple[Folded, ...]
) -> Estimates:
    """The entries with what is told of the whole fit."""
    result, score = fitted.result, fitted.result.get("train") or {}
    decrement = result.get("decrement")  # only second-order steps know it
    likelihood = standard is not None and not plan.has_shared
    log_prob = standard.log_prob if standard is not None and likelihood else score.get("log_prob")
    rank = None if standard is None else standard.rank
    free = rank if likelihood else None
    deviance = None if log_prob is None else -2 * log_prob
    return Estimates(
        log_prob=log_prob,
        bound=score.get("bound", "exact" if plan.exact else "lower"),
        rows=fitted.rows,
        free_parameters=rank,
        aic=None if free is None or deviance is None else 2 * free + deviance,
        bic=None if free is None or deviance is None or fitted.rows < 2 else math.log(fitted.rows) * free + deviance,
        converged=None if decrement is None else bool(result.get("converged")) and not elsewhere(standard),
        decrement=decrement,
        starts=tuple((float(value), int(count)) for value, count in result.get("starts") or ()),
        level=LEVEL,
        parameters=entries,
        folded=folded,
        notes=tuple(
            filter(
                None, (ended(result.get("text"), standard), *(result.get("notes") or ()), arrival(standard), *edges(entries))
            )
        ),
    )


def edges(entries: Sequence[Estimate]) -> Iterator[str]:
    """Sentences that name what has no maximum inside its domain, which a long table may hide."""
    for note in (EDGE, ENDLESS):
        names = [entry.title for entry in entries if entry.note == note and not entry.derived]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{note}: {', '.join(names[:NAMED])}{more}"


def elsewhere(standard: Standard | None) -> bool:
    """Whether second derivatives say that the fit is at no maximum, whatever it says itself: far out its steps see no slope."""
    return standard is not None and standard.rank is None and standard.misses > MISSES


def ended(text: str | None, standard: Standard | None) -> str | None:
    """How the fit says that it ended, without that it converged where it did not."""
    if text is None or not elsewhere(standard) or not text.startswith("converged"):
        return text
    return text.partition("; ")[2] or None


def arrival(standard: Standard | None) -> str | None:
    """A sentence about a fit that ended elsewhere than at a maximum."""
    return None if standard is None or standard.rank is not None else missed(standard.misses)


def missed(misses: float) -> str:
    """The same of one that ended so many nats below it, as in Standard."""
    if misses == float("inf"):
        return "not at a maximum: the log-probability curves upward here, so that there are no standard errors"
    if math.isnan(misses):
        return "no standard errors: the log-probability has an edge or a kink here, where it falls at once to one side"
    if misses <= MISSES:
        return "no standard errors: the log-probability is not finite everywhere near the estimates"
    return f"not at a maximum: more than {misses:.2g} nats below one, so that there are no standard errors"
