"""Factors → Plan: treat each variable, hold it so, find the cheapest order of the sums, and count what it costs."""

from __future__ import annotations

from dataclasses import replace

from vispec.factors.make import Factors, factorise
from vispec.model.model import Model
from vispec.plan.budget import Budget
from vispec.plan.formulas import WIDTH, computed
from vispec.plan.guides import complete_guides
from vispec.plan.held.setting import Setting, setting
from vispec.plan.modified import check_modified
from vispec.plan.order.execute import execute
from vispec.plan.order.order import Order, order
from vispec.plan.order.problem import Problem
from vispec.plan.order.refuse import ABSURD, IntractableError
from vispec.plan.planned import Plan
from vispec.plan.refusals import refused, too_large
from vispec.plan.refuse import check_plannable
from vispec.plan.rows import rows_of, whole_cost
from vispec.plan.suits_fit import check_fit
from vispec.plan.treat import treat
from vispec.program.axis import Axis
from vispec.program.node import Node


def completed(model: Model) -> Model:
    """The model with the guides that it asks for written out. Raises SpecError (V7xx) for what is sayable but not compiled."""
    check_modified(model)
    found = complete_guides(model)
    check_plannable(found)
    return found


def plan_model(model: Model, budget: Budget | None = None) -> Plan:
    """The plan of a checked model."""
    return make_plan(factorise(completed(model)), budget)


def make_plan(f: Factors, budget: Budget | None = None) -> Plan:
    """The plan of a completed model's factors. Raises SpecError where a sum takes more than its budget whatever the data."""
    budget, model = budget or Budget(), f.model
    row = setting(f, {v.name: treat(v, model, False) for v in model.variables})
    found = ordered(row, budget)
    check_fit(row)
    whole = {v.name: treat(v, model, True) for v in model.variables}
    left_out = any(each.kind in ("masked", "free") for each in row.treatments.values())
    asked = (setting(f, whole) if left_out else row) if any(each.kind == "sum" for each in whole.values()) else None
    asked_order = None if asked is None else found if asked is row else ordered(asked, budget)
    log_prob = execute(found, {each.name: each.node for each in row.joint.problem.factors})
    check_memory(row, log_prob, budget)
    rows, cost = rows_of(row, found), whole_cost(row, found, log_prob)
    return with_alternative(Plan(f, budget, row, found, asked, asked_order, rows, cost))


def ordered(s: Setting, budget: Budget) -> Order:
    """The cheapest order for the sums of a row."""
    try:
        return cheapest(within(s.joint.problem, s.f.model, budget))
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
    summed = {latent.name for latent in problem.latents}
    asked = [infer for infer in model.infer if infer.name in summed and infer.budget is not None]
    own = [ABSURD if infer.otherwise is not None else infer.budget for infer in asked]
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
    summed = {name for name, found in plan.treatments.items() if found.kind == "sum"}
    infer = next((i for i in plan.model.infer if i.otherwise is not None and i.name in summed), None)
    if infer is None or infer.otherwise is None:
        return plan
    other = replace(infer, estimator=infer.otherwise, budget=None, otherwise=None)
    model = replace(plan.model, infer=tuple(other if i is infer else i for i in plan.model.infer))
    return replace(plan, alternative=make_plan(factorise(model), plan.budget), most=infer.budget)
