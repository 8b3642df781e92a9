"""The emitted file's opening: what it computes, in mathematics, and how each variable is treated."""

from pathlib import Path

from vispec.emit.steps import steps
from vispec.plan.plan import Plan


def derivation(plan: Plan) -> str:
    """A module docstring. Text from the spec is escaped: it may hold anything."""
    model = plan.model
    name = Path(model.source.name).name
    what = "exact" if plan.exact else f"a bound or estimate, {plan.estimator}"
    lines = [f"{model.name}: emitted by vispec from {name}; imports torch and nothing else.", "", f"    log_prob: {what}", ""]
    for step in plan.steps:
        lines.append(f"    {steps()[step.kind].derivation(step)}")
    lines.append("")
    width = max(len(row.variable) for row in plan.rows)
    for row in plan.rows:
        lines.append(f"    {row.variable:<{width}}  {row.treatment}; {row.because}")
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""'
