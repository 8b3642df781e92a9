"""A run and its data as ArviZ has them: an xarray DataTree, with labels of plates as coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vispec.answers.compared.draws import DRAWS, Draws, draw
from vispec.answers.compared.pointwise import log_likelihood
from vispec.answers.how import CPU
from vispec.answers.reading import Say
from vispec.answers.replicated.replicate import Array, Cells, batches, ended, observed, replicates, scored
from vispec.model.extent import element_plates
from vispec.model.model import Variable
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.estimates.labels import Label, Labels
from vispec.train.scores.rows import Rows
from vispec.train.store.module import evaluating
from vispec.train.store.run import Run

if TYPE_CHECKING:
    from xarray import DataTree

SAMPLES = ("chain", "draw")


@dataclass(frozen=True, eq=False)
class Table:
    """Values with the labels along each dimension, by their names; of a variable's cells in ragged rows, the place of each
    along its plates. samples: whether draws come first. words: what its numbers stand for, if anything."""

    values: Array
    axes: tuple[tuple[str, Sequence[Label]], ...] = ()
    samples: bool = True
    places: tuple[tuple[str, Array], ...] = ()
    words: Sequence[Label] = ()


def to_arviz(
    run: Run,
    data: Dataset,
    draws: int = DRAWS,
    device: torch.device = CPU,
    seed: int = 0,
    training: Dataset | None = None,
    say: Say = lambda text: None,
) -> "DataTree":
    """posterior: the draws, by name; sample_stats: log p (`lp`) and log q of each; log_likelihood of each row under each;
    posterior_predictive and observed_data: new data under each draw, and those that are there. training: the rows that the run
    was fitted to, where they are others. RunError where there are no draws, with the reason."""
    try:
        from xarray import DataTree
    except ImportError as error:
        raise RunError("a DataTree takes arviz-base: pip install 'vispec[arviz]'") from error
    made = draw(run, data if training is None else training, device, draws, seed, say)
    groups = {
        "posterior": {name: Table(values.numpy(), made.axes[name]) for name, values in made.values.items()},
        "sample_stats": {"lp": Table(made.log_p.numpy()), "log_q": Table(made.log_q.numpy())},
        "log_likelihood": likelihood(made, data),
        **predictive(made, data, say),
    }
    told = {"inference_library": "vispec", "approximation": made.kind}
    return DataTree.from_dict({name: dataset(tables, told) for name, tables in groups.items() if tables})


def dataset(tables: dict[str, Table], told: dict[str, Any]) -> Any:
    """Some tables as one xarray Dataset. Dimensions of one name and other labels get names of their own."""
    from arviz_base import dict_to_dataset

    coords, dims = dict[Any, Any](), dict[Any, Any]()
    for name, table in tables.items():
        dims[name] = [dimension(axis, labels, name, coords) for axis, labels in table.axes]
    values = {name: table.values[None] if table.samples else table.values for name, table in tables.items()}
    samples = list(SAMPLES) if all(table.samples for table in tables.values()) else []
    found = dict_to_dataset(values, coords=coords, dims=dims, sample_dims=samples, attrs=told)
    places = {f"{name}_{plate}": (dims[name][0], at) for name, table in tables.items() for plate, at in table.places}
    for name, table in tables.items():
        found[name].attrs |= {"labels": list(table.words)} if table.words else {}
    return found.assign_coords(places)


def dimension(axis: str, labels: Sequence[Label], name: str, coords: dict[Any, Any]) -> str:
    """The name of a dimension with these labels."""
    for known in (axis, f"{name}_{axis}"):
        if known not in (*SAMPLES, name) and coords.setdefault(known, list(labels)) == list(labels):
            return known
    raise AssertionError(f"two dimensions {name}_{axis}")


def likelihood(made: Draws, data: Dataset) -> dict[str, Table]:
    """The log-probability of each row, or part of the one row, under the name of what is scored, if that is one variable."""
    names = [name for name, _ in data.observed]
    units, values = log_likelihood(made, data)
    axis = rows_of(made.run, data) if units.kind == "row" else (units.plate, range(values.shape[-1]))
    return {names[0] if len(names) == 1 else "rows": Table(values.numpy(), (axis,))}


def rows_of(run: Run, data: Dataset) -> tuple[str, Sequence[Label]]:
    """The dimension of the rows, which has the labels of a long table."""
    plate = next(plate.name for plate in run.model.plates if plate.data)
    return plate, next(iter(data.keys.values()), range(data.num_rows))


# ---- data, and new data


def predictive(made: Draws, data: Dataset, say: Say) -> dict[str, dict[str, Table]]:
    """What the data have of each scored variable, and what each draw would give in its place."""
    run, data = made.run, data.in_precision("float64")
    variables, flat = scored(run, data)
    if flat:
        say(f"{', '.join(flat)}: Flat() is no law to draw from")
    found = batches(run, data, made.size, made.device)
    there = {variable.name: observed(run, variable, found) for variable in variables}
    drawn = {variable.name: list[Array]() for variable in variables if not ended(run, variable)}
    for name in there.keys() - drawn.keys():
        say(f"{name}: how long it is is drawn with it, so that no cell of new data is in the place of one that is there")
    generator = torch.Generator().manual_seed(made.seed)
    with evaluating(made.module, made.seed, made.device):
        for i in range(made.count if drawn else 0):
            with made.held(i):
                new = replicates(run, made.module, variables, found, generator)
            for name, values in drawn.items():
                values.append(new[name].values)
    whole = {variable.name: variable for variable in variables}
    return {
        "observed_data": {name: table(run, data, whole[name], cells, cells.values, False) for name, cells in there.items()},
        "posterior_predictive": {
            name: table(run, data, whole[name], there[name], np.stack(values), True) for name, values in drawn.items()
        },
    }


def table(run: Run, data: Dataset, variable: Variable, cells: Cells, values: Array, samples: bool) -> Table:
    """The cells (*S, n, *event) of a variable along its plates, or one after another where rows differ in length or some are
    missing."""
    model, plates, own = run.model, element_plates(variable), len(variable.plates)
    lead, event = values.shape[: int(samples)], values.shape[int(samples) + 1 :]
    sizes = [int(size) for size in cells.places.max(0, initial=-1) + 1]
    labels = Labels.of(model, run.encoders, run.config.gathered)
    told = labels.axes(model, variable.plates, variable.type, (*sizes[:own], *event))
    names = [dim if isinstance(dim, str) else f"{variable.name}_{i}" for i, dim in enumerate(variable.type.shape)]
    tail, words = tuple(zip(names, told[own:], strict=True)), Rows(model, run.encoders, {}).words(variable) or ()
    if len(cells.values) != int(np.prod(sizes)):
        places = tuple(zip(plates, cells.places.T, strict=True))
        return Table(values, ((f"{variable.name}_cell", range(len(cells.values))), *tail), samples, places, words)
    along = zip(plates, [*told[:own], *map(range, sizes[own:])], strict=True)
    axes = [rows_of(run, data) if model.plate[p].data else (p, each) for p, each in along if not model.plate[p].implicit]
    shape = [len(each) for _, each in axes]
    return Table(values.reshape(*lead, *shape, *event), (*axes, *tail), samples, words=words)
