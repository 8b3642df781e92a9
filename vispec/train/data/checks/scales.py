"""A warning where a net reads numbers so large that its first layer starts far from where it learns."""

import math
from collections.abc import Iterator, Mapping

import numpy as np

from vispec.catalog import networks
from vispec.model.model import All, Evidence, Model, Prefix, Ref
from vispec.model.types import INTEGER_DOMAINS
from vispec.train.data.arrange import Arranged
from vispec.train.data.diagnostics import Problems
from vispec.train.data.encoding.encode import Field

LARGE = 30.0  # in units of what a net's weights start for


def warn_of_scales(model: Model, fields: Mapping[str, Field], arranged: Mapping[str, Arranged], problems: Problems) -> None:
    """D191 for each variable whose numbers are large for a net that reads them as they are."""
    told: set[str] = set()
    for net, name in plain_readings(model):
        if name in told or name not in fields or model.variable[name].type.domain in {*INTEGER_DOMAINS, "bit"}:
            continue
        values = fields[name].values  # (*elements, *event)
        flat = values.reshape(-1, math.prod(values.shape[values.ndim - len(model.variable[name].type.shape) :]))
        if not len(flat):
            continue
        mean, deviation = flat.mean(0), flat.std(0)
        largest = int(np.hypot(mean, deviation).argmax())
        if np.hypot(mean[largest], deviation[largest]) > LARGE:
            told.add(name)
            which = f"entry {largest + 1}, " if flat.shape[1] > 1 else ""
            numbers = f"{which}mean {mean[largest]:.4g}, deviation {deviation[largest]:.4g}"
            column = arranged[name].column
            message = f"the numbers of `{name}` are large for a net ({numbers}), and `{net}` reads them as they are"
            advice = (
                f"begin the net with a layer that brings them to mean 0 and deviation 1: `net {net}(...) = standardise |> ...`"
            )
            problems.warn("D191", message, column.origin.file, column.label, advice)


def plain_readings(model: Model) -> Iterator[tuple[str, str]]:
    """Each net with each variable that it reads and does not bring to scale."""
    for call in model.calls:
        trunk = model.net[call.net].trunk
        if trunk and networks()[trunk[0].layer].learns:
            continue
        for argument in call.args:
            read = argument.read if isinstance(argument, Evidence) and not argument.seen else argument
            if isinstance(read, Ref | All | Prefix) and read.name in model.variable:
                yield call.net, read.name
