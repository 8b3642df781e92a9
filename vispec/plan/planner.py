"""Factors → Plan: treat each variable, hold it so, find the cheapest order of the sums, and count what it costs."""

from __future__ import annotations

from dataclasses import replace

from vispec.diagnostics import Diagnostic, Label, SpecError
from vispec.factors.make import Factors, factorise
from vispec.model.model import Infer, Model
from vispec.plan.budget import Budget
from vispec.plan.formulas import WIDTH, computed
from vispec.plan.gaussian.recognise import recognised
from vispec.plan.guides import complete_guides
from vispec.plan.held.setting import Setting, setting, tilts
from vispec.plan.modified import check_modified
from vispec.plan.order.execute import execute
from vispec.plan.order.order import Order, order
from vispec.plan.order.problem import Factor, Problem
from vispec.plan.order.refuse import ABSURD, IntractableError
from vispec.plan.planned import Plan
from vispec.plan.refused.refusals import refused, too_large
from vispec.plan.refused.refuse import check_plannable
from vispec.plan.refused.suits_fit import check_fit
from vispec.plan.rows import rows_of, whole_cost
from vispec.plan.treat import treat
from vispec.program.axis import Axis
from vispec.program.node import Node


def completed(model: Model) -> Model:
    """The model with the guides that it asks for written out. Raises SpecError (V7xx) for what is sayable but not compiled."""
    check_modified(model)
    found = complete_guides(recognised(model))
    check_plannable(found)
    return found


def plan_model(model: Model, budget: Budget | None = None) -> Plan:
    """The plan of a checked model."""
    return make_plan(factorise(completed(model)), budget)


def plan_of(model: Model) -> Plan:
    """The plan of a model that is compiled already: whatever its sums take was allowed."""
    return plan_model(model, Budget(work=ABSURD))


def make_plan(f: Factors, budget: Budget | None = None) -> Plan:
    """The plan of a completed model's factors. Raises SpecError where a sum takes more than its budget whatever the data."""
    budget, model = budget or Budget(), f.model
    row = setting(f, {v.name: treat(v, model, False) for v in model.variables})
    try:
        found = ordered(row, budget)
    except SpecError:
        if (other := instead(row)) is None:
            raise
        return make_plan(factorise(other), budget)
    check_fit(row)
    whole = {v.name: treat(v, model, True) for v in model.variables}
    left_out = any(each.kind in ("masked", "free") for each in row.treatments.values())
    asked = (setting(f, whole) if left_out else row) if any(each.kind == "sum" for each in whole.values()) else None
    asked_order = None if asked is None else ordered(asked, budget, tilts(asked))
    log_prob = execute(found, {each.name: each.node for each in row.joint.problem.factors})
    check_memory(row, log_prob, budget)
    rows, cost = rows_of(row, found), whole_cost(row, found, log_prob)
    return with_alternative(Plan(f, budget, row, found, asked, asked_order, rows, cost))


def instead(s: Setting) -> Model | None:
    """The model with what is written behind `else`, of a sum that takes more than its budget whatever the data."""
    model = s.f.model
    asked = next((i for i in model.infer if i.otherwise is not None and s.treatments[i.name].kind == "sum"), None)
    return None if asked is None else estimated(model, asked)


def ordered(s: Setting, budget: Budget, more: tuple[Factor, ...] = ()) -> Order:
    """The cheapest order for the sums of a row, with further factors."""
    problem = replace(s.joint.problem, factors=(*s.joint.problem.factors, *more))
    try:
        return cheapest(within(problem, s.f.model, budget))
    except IntractableError as error:
        raise refused(s, error) from error


def check_memory(s: Setting, log_prob: Node, budget: Budget) -> None:
    """Raise SpecError where one value of one row takes more bytes than allowed, whatever the data: an element of each axis that
    only they can tell is counted as two."""
    if budget.memory is None:
        return
    kept = s.joint.problem.kept
    known = s.joint.problem.numbers
    numbers = replace(known, typical=2, sizes={**budget.sizes, **known.sizes})
    sizes = {node: numbers.elements(at_once(node) - kept) * WIDTH[node.dtype] for node in computed([log_prob])}
    node = max(sizes, key=lambda each: sizes[each], default=None)
    if node is not None and sizes[node] > budget.memory:
        raise too_large(s, node, sizes[node])


def at_once(node: Node) -> frozenset[Axis]:
    """The axes of what is there at one time: of joint values there are some at a time."""
    return frozenset(axis for axis in node.axes if axis.origin.kind != "joint")


def within(problem: Problem, model: Model, budget: Budget) -> Problem:
    """The problem with its budget: `exact up to B` of the spec goes before that of all specs, and `else` before any."""
    summed = {latent.name: latent.values for latent in problem.latents}
    asked = [infer for infer in model.infer if infer.name in summed and infer.budget is not None]
    counted = [infer for infer in asked if infer.otherwise is not None and summed[infer.name].kind == "joint"]  # row by row
    own = [ABSURD if infer in counted else infer.budget for infer in asked]
    numbers = replace(problem.numbers, sizes={**budget.sizes, **problem.numbers.sizes})
    problem = replace(problem, numbers=numbers)
    return replace(problem, work=max((each for each in own if each is not None), default=budget.work), memory=budget.memory)


def cheapest(problem: Problem) -> Order:
    """The order for sizes as they are told, typical ones where only the data can tell; what exceeds the budget by these alone
    is left to the module, which counts when it has the data."""
    try:
        return order(problem)
    except IntractableError:
        return order(replace(problem, numbers=replace(problem.numbers, typical=2)))


def with_alternative(plan: Plan) -> Plan:
    """`exact up to B else E`: the same model with E, for rows that have more joint values than B."""
    infer = next((i for i in plan.model.infer if i.otherwise is not None and plan.row.joint.held.along.get(i.name)), None)
    if infer is None or infer.budget is None:
        return plan
    other = make_plan(factorise(estimated(plan.model, infer), plan.f.frame), plan.budget)
    check_shared(plan, other, infer)
    return replace(plan, alternative=other, exactly=(infer.name, infer.budget))


def check_shared(plan: Plan, other: Plan, infer: Infer) -> None:
    """Raise SpecError where what all rows share would be drawn more often for some rows than for others."""
    drawn, again = (each.row.shared.orders if each.row.shared is not None else {} for each in (plan, other))
    name = next((name for name, order in drawn.items() if len(order) != len(again[name])), None)
    if name is not None:
        message = (
            f"rows share `{name}`, which is drawn once for sums and {other.samples} times for `{infer.name}` behind `else`"
        )
        label = Label(plan.model.variable[name].span, "shared by all rows")
        help_ = "ask for one sample, or for as many of what is shared"
        raise SpecError(plan.model.source, [Diagnostic("V714", message, Label(infer.span, "several samples"), (label,), help_)])


def estimated(model: Model, infer: Infer) -> Model:
    """The model with what is written behind `else`."""
    assert infer.otherwise is not None
    other = replace(infer, estimator=infer.otherwise, budget=None, otherwise=None)
    return replace(model, infer=tuple(other if i is infer else i for i in model.infer))
