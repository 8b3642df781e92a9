"""Data for a run, encoded as its training data were, and read as they were where nothing else is said."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vispec.model.problems import listed
from vispec.model.walk import draws
from vispec.train.data import DataError, Dataset, load, render
from vispec.train.reading import Reading
from vispec.train.store.changed import Hidden
from vispec.train.store.run import Run

Say = Callable[[str], None]


def load_data(run: Run, data: Sequence[str], reading: Reading, say: Say, spare: bool = False) -> Dataset:
    """The data; DataError where they do not fit. spare: rows that read what no row of the training data met are kept."""
    told = reading.over(run.config.reading).options
    known = {"encoders": run.encoders, "sizes": run.config.sizes, "optional": run.config.absent}
    return _in_precision(load(run.model, data, spare=spare, **known, **told), run, say)


def _in_precision(found: Dataset, run: Run, say: Say) -> Dataset:
    """The data in the precision of a run, after lines on rows that were left out, or of which nothing is known."""
    if found.dropped:
        say(found.dropped)
    for warning in found.warnings:
        if warning.code == "D136":
            say(render([warning]))
    return found.in_precision(run.config.settings.numbers)


def load_given(run: Run, data: Sequence[str], reading: Reading, say: Say) -> Dataset:
    """Data of which only the `given` variables are needed; the others serve (for lengths) where they are there."""
    if not reading.over(run.config.reading).drop:
        try:
            return load_data(run, data, reading, say, spare=True)
        except DataError:
            pass  # what is wrong with the others is of no matter here
    model = run.model
    given = tuple(variable for variable in model.variables if variable.role == "given")
    open_plates = {plate for variable in given for plate in variable.plates}
    plates = tuple(plate for plate in model.plates if plate.name in open_plates or not plate.ragged)
    told = reading.over(run.config.reading).only(frozenset(variable.name for variable in given)).options
    part = replace(model, variables=given, plates=plates)
    return _in_precision(load(part, data, encoders=run.encoders, sizes=run.config.sizes, spare=True, **told), run, say)


def load_shown(run: Run, data: Sequence[str], reading: Reading, say: Say) -> Dataset:
    """Data to predict from; what is hidden may be there, to say how long rows are, or not."""
    if not isinstance(run, Hidden):
        return load_data(run, data, reading, say, spare=True) if fills(run) else load_given(run, data, reading, say)
    try:
        return load_data(run, data, reading, say, spare=True)
    except DataError:
        if run.measures:  # nothing else would say how long rows are
            raise
        return load_data(run, data, replace(reading, absent=(*reading.absent, *sorted(run.targets))), say, spare=True)


def fills(run: Run) -> bool:
    """Whether missing cells are what is predicted, from the cells that are seen."""
    return any(variable.role == "partial" for variable in run.model.variables)


def say_flat(run: Run, say: Say) -> None:
    """A line on what no law tells to draw."""
    laws = {v.name: v.law for v in run.model.variables if v.law is not None}
    flat = [name for name, law in laws.items() if any(draw.distribution == "Flat" for draw in draws(law))]
    if flat:
        say(f"{listed(flat)}: Flat() is no law to draw from; 0 stands where it would be")
