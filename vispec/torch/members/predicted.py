"""What is predicted of missing numbers and labels, from all that a row shows."""

from __future__ import annotations

from vispec.lower.asked.predicted import Predicted
from vispec.lower.outputs import Outputs
from vispec.torch.members.derived import shared
from vispec.torch.members.members import BATCH, Members, entries_of, rows

PREDICT = "vispec.kernels.told.predict"
RULES = [
    'rule: "mean", of labels the probabilities of their values; "mode", the likeliest value; "median";',
    '"quantiles(.05, .95)", last in order; "probs", of counts those of 0, 1, ...; "sample", a draw of all together;',
    '"sample(5)", five of them, last in order.',
]


def predicted(m: Members, o: Outputs, found: Predicted) -> None:
    """predict, and the sums that it asks."""
    if found.beyond:
        why = f"predictions would take more than log_prob, and than is allowed: {found.beyond}"
        m.text(
            [
                f'def predict(self, {BATCH}, rule: str = "mean", samples: int = 1000) -> dict[str, Tensor]:',
                f"    raise ValueError({why!r})",
            ]
        )
        return
    drawn = found.samples is not None
    arguments = [
        BATCH,
        "total",
        "of",
        "tilt: dict[str, Tensor]",
        "values: dict[str, Tensor]",
        *(["samples: int"] if drawn else []),
    ]
    told = {found.samples: "samples"} if found.samples is not None else {}
    doc = "log p of each row with `tilt` times what `of` tells of each missing number's law added, and `total` for sums."
    m.program("predictive", found.program, doc, arguments, told=told, before=shared(o.shared, found.program))
    doc = "A tilt of nothing for each missing number and label."
    m.program("tilts", found.zeros, doc, returns="dict", result="dict[str, Tensor]", orders=found.orders)
    kinds = ", ".join(f'"{name}": "{kind}"' for name, kind in found.kinds.items())
    tables = "".join(f'"{name}", ' for name, plates in entries_of(o.model).items() if rows(o) not in plates)
    apart = f", tables=({tables[:-1]})" if tables else ""
    over = ["samples: draws of latents that are not summed, or of laws that only draw."]
    lines = [
        "@torch.no_grad()",
        f'def predict(self, {BATCH}, rule: str = "mean", samples: int = 1000) -> dict[str, Tensor]:',
        '    """Each partial variable, from all that is seen; cells that are seen are as they are seen.',
        "",
        *(f"    {line}" for line in [*RULES, *over]),
        '    """',
        f"    return filled(self, batch, rule, {{{kinds}}}, samples{', (samples,)' if drawn else ''}{apart})",
    ]
    if trees := [name for name in found.kinds if o.model.variable[name].type.domain == "tree"]:
        best = " | ".join(f'{{"{name}": self.posterior(batch, "mode")["{name}"]}}' for name in trees)
        lines[-1] = lines[-1].replace("return", "found =", 1)
        lines.append(f'    return found | {best} if rule == "mode" else found  # heads by themselves may be no tree')
    if parses := [name for name in found.kinds if o.model.variable[name].type.domain == "parse"]:
        names, one = ", ".join(f'"{name}"' for name in parses), len(o.summed) == 1
        lines[-1] = lines[-1].replace("return", "found =", 1)
        lines.append(f'    told = told_parses(self, batch, rule, ({names},), {one}) if rule in ("mode", "sample") else {{}}')
        lines.append("    return found | told")
        m.text(lines, (PREDICT, "filled"), ("vispec.kernels.trees.phrases", "told_parses"))
        return
    m.text(lines, (PREDICT, "filled"))
