"""What a fit came to, for a reader."""

from collections.abc import Iterator, Mapping
from typing import Any

from vispec.diagnostics import plain
from vispec.screen import folded
from vispec.train.estimates.show import body, header
from vispec.train.estimates.stored import read_estimates
from vispec.train.scores.diagnostics import described
from vispec.train.scores.final import scored
from vispec.train.store.run import Run

LINES = 20  # of the table of estimates


def summary(run: Run, result: Mapping[str, Any]) -> Iterator[str]:
    """Lines: scores, how the fit ended, estimates, verification, and where it lies."""
    for name in ("train", "valid"):
        score = result[name]
        if score is not None:
            yield from folded(f"{name}: {scored(score, name == 'train')}", rest="  ")
            for line in described(score["diagnostics"]) if score.get("diagnostics") else ():
                yield from folded(line, "  ", "    ")
    found = read_estimates(run)
    told = [line for line in (result.get("text"), *result.get("notes", ())) if line]
    for line in told if found is None else found.notes:
        yield from folded(plain(line), rest="  ")
    if found is not None:
        yield from (*header(found, scored=True), "", *body(found, LINES), "")
    if "verification" in result:
        yield result["verification"]["text"]
    yield f"run: {run.folder}  (report.html, best.safetensors, module.py)"
