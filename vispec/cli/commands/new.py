"""vispec new: a small spec and data to start from."""

import random
import re
from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import FAILED, fail

SPEC = """\
# {name}: a mixture of Gaussians; `vispec check {name}.vispec` says how it will be computed.
size K = 3                                  # how many components; override it with --set K=5
param weight : simplex[K]                   # one probability per component
plate k[K]:                                 # a plate with a size: one of everything in it per component
    param mean   : real[2]
    param spread : positive[2]

plate row:                                  # the plate without a size is the data: one row each
    latent   c : index[k] ~ Categorical(weight)                  # never seen; summed out exactly
    observed x : real[2]  ~ Normal(mean[c], spread[c])           # columns x1 and x2 of the data
"""

ROWS = 150
CENTRES = ((-2.0, 0.0), (2.0, 1.0), (0.0, 3.0))


@click.command("new")
@click.argument("name")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path(), help="Where to write (default: here).")
def new(name: str, folder: Path) -> None:
    """Write NAME.vispec, a commented starter spec, and NAME.csv, data for it; then say what to type next."""
    name = name.removesuffix(".vispec")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise click.UsageError(f"NAME `{name}`: letters, digits and underscores, a letter first")
    spec, data = folder / f"{name}.vispec", folder / f"{name}.csv"
    for path in (spec, data):
        if path.exists():
            fail(f"error: {path} exists already; choose another name", FAILED, False)
    folder.mkdir(parents=True, exist_ok=True)
    spec.write_text(SPEC.format(name=name), encoding="utf-8")
    data.write_text(rows(), encoding="utf-8")
    click.echo(f"wrote {spec} and {data}; next:\n  vispec check {spec}\n  vispec fit {spec} {data}")


def rows() -> str:
    """Points around three centres, as CSV; always the same."""
    chance = random.Random(0)
    lines = ["x1,x2"]
    for _ in range(ROWS):
        x, y = chance.choice(CENTRES)
        lines.append(f"{chance.gauss(x, 0.6):.3f},{chance.gauss(y, 0.6):.3f}")
    return "\n".join(lines) + "\n"


ENTRY = Command("new", new)
