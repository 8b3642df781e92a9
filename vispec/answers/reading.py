"""Data for a run, encoded as its training data were, and read as they were where nothing else is said."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from vispec.model.problems import listed
from vispec.model.walk import draws
from vispec.train.data import DataError, Dataset, load
from vispec.train.reading import Reading
from vispec.train.store.changed import Hidden
from vispec.train.store.run import Run

Say = Callable[[str], None]


def load_data(run: Run, data: Sequence[str], reading: Reading, say: Say) -> Dataset:
    """The data; DataError where they do not fit."""
    told, optional = reading.over(run.config.reading).options, run.config.absent
    return _in_precision(
        load(run.model, data, encoders=run.encoders, sizes=run.config.sizes, optional=optional, **told), run, say
    )


def _in_precision(found: Dataset, run: Run, say: Say) -> Dataset:
    """The data in the precision of a run, after a line on rows that were left out."""
    if found.dropped:
        say(found.dropped)
    return found.in_precision(run.config.settings.precision)


def load_given(run: Run, data: Sequence[str], reading: Reading, say: Say) -> Dataset:
    """Data of which only the `given` variables are needed; the others serve (for lengths) where they are there."""
    if not reading.over(run.config.reading).drop:
        try:
            return load_data(run, data, reading, say)
        except DataError:
            pass  # what is wrong with the others is of no matter here
    model = run.model
    given = tuple(variable for variable in model.variables if variable.role == "given")
    open_plates = {plate for variable in given for plate in variable.plates}
    plates = tuple(plate for plate in model.plates if plate.name in open_plates or not plate.ragged)
    told = reading.over(run.config.reading).only(frozenset(variable.name for variable in given)).options
    part = replace(model, variables=given, plates=plates)
    return _in_precision(load(part, data, encoders=run.encoders, sizes=run.config.sizes, **told), run, say)


def load_shown(run: Run, data: Sequence[str], reading: Reading, say: Say) -> Dataset:
    """Data to predict from; what is hidden may be there, to say how long rows are, or not."""
    if not isinstance(run, Hidden):
        return load_data(run, data, reading, say) if fills(run) else load_given(run, data, reading, say)
    try:
        return load_data(run, data, reading, say)
    except DataError:
        if run.measures:  # nothing else would say how long rows are
            raise
        return load_data(run, data, replace(reading, absent=(*reading.absent, *sorted(run.targets))), say)


def fills(run: Run) -> bool:
    """Whether missing cells are what is predicted, from the cells that are seen."""
    return any(variable.role == "partial" for variable in run.model.variables)


def say_flat(run: Run, say: Say) -> None:
    """A line on what no law tells to draw."""
    laws = {v.name: v.law for v in run.model.variables if v.law is not None}
    flat = [name for name, law in laws.items() if any(draw.distribution == "Flat" for draw in draws(law))]
    if flat:
        say(f"{listed(flat)}: Flat() is no law to draw from; 0 stands where it would be")
