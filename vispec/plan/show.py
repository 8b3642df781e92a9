"""The plan as text and as data."""

from typing import Any

from vispec.plan.order.refuse import figure
from vispec.plan.planned import Plan
from vispec.screen import folded, tabled


def show_plan(plan: Plan) -> str:
    """A table: variable, plates, treatment, what it costs, why; below it what all sums cost, and the next cheapest order."""
    head = ("variable", "plates", "treatment", "terms", "because")
    rows: list[tuple[str, ...]] = [head]
    for row in plan.rows:
        exact = "" if row.treatment in ("data",) else (", exact" if row.exact else "")
        rows.append((row.variable, ", ".join(row.plates), row.treatment + exact, row.cost.get("terms", ""), row.because))
    return "\n".join([*tabled(rows), "", *cost_lines(plan)])


def cost_lines(plan: Plan) -> list[str]:
    """What one evaluation of log_prob takes; where a spec has an estimator for large rows, that too."""
    cost = plan.cost
    lines = [] if cost.terms == "0" else folded(f"{cost.terms} terms", "sums:  ")
    if cost.runner_up is not None:
        other, how = cost.runner_up
        lines += folded(f"{figure(other)} terms a row in place of {figure(plan.order.terms)} ({how})", "next:  ")
    lines += folded(f"{cost.peak} at the peak, {cost.bytes} kept for a gradient", "bytes: ")
    if plan.alternative is not None and plan.exactly is not None:
        lines.append(f"rows of more than {figure(plan.exactly[1])} joint values: {plan.alternative.estimator}")
    return lines


def cost_json(plan: Plan) -> dict[str, Any]:
    """The same for `check --json`."""
    other = None if plan.cost.runner_up is None else {"terms": plan.cost.runner_up[0], "order": plan.cost.runner_up[1]}
    return {"terms": plan.cost.terms, "row": plan.order.terms, "peak": plan.cost.peak, "bytes": plan.cost.bytes, "next": other}


def plan_json(plan: Plan) -> list[dict[str, Any]]:
    """The rows as `check --json` prints them."""
    return [
        {
            "variable": row.variable,
            "plates": list(row.plates),
            "treatment": row.treatment,
            "exact": row.exact,
            "cost": dict(row.cost),
            "because": row.because,
        }
        for row in plan.rows
    ]
