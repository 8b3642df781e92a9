"""The plan as text and as data."""

from typing import Any

from vispec.plan.plan import Plan


def show_plan(plan: Plan) -> str:
    """A table: variable, plates, treatment, what it costs, why."""
    head = ("variable", "plates", "treatment", "terms", "because")
    rows: list[tuple[str, ...]] = [head]
    for row in plan.rows:
        exact = "" if row.treatment in ("data",) else (", exact" if row.exact else "")
        rows.append((row.variable, ", ".join(row.plates), row.treatment + exact, row.cost.get("terms", ""), row.because))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


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
