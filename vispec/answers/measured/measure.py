"""Predictions beside what the data have: which variables a metric is about, and their gold."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vispec.answers.elements import Told, by_element
from vispec.answers.how import How
from vispec.answers.measured import measures
from vispec.answers.measured.asked import Metric
from vispec.answers.reading import Say, load_data
from vispec.answers.show import Aligned, between, labels_of
from vispec.model.model import Model, Variable
from vispec.model.problems import listed
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.reading import Reading
from vispec.train.scores.rows import Rows
from vispec.train.store.run import Run

WANTED = {
    "accuracy": "discrete",
    "f1": "a sequence of tags",
    "uas": "a tree",
    "las": "a tree",
    "brackets": "a parse",
    "bleu": "a sequence of tokens",
    "chrf": "a sequence of tokens",
}


def measure(
    run: Run,
    data: Sequence[str],
    reading: Reading,
    how: How,
    say: Say,
    metrics: Sequence[Metric],
    targets: Sequence[str],
    found: Iterable[Told],
) -> measures.Told:
    """Each metric of each predicted variable that it is about. targets: those that were hidden. found: the predictions, row by
    row. Raises DataError and RunError."""
    shown = [v.name for v in run.model.variables if v.role == "partial" and not targets]
    if shown:
        hide = " ".join(f"--target {name}" for name in shown)
        raise RunError(f"what the data have of {listed(shown)} is shown to the model, and is no prediction: {hide} hides it")
    told = [row for row, _ in found]
    names = [name for name in run.model.variable if any(name in row for row in told)]
    gold = [row for row, _ in gold_of(run, load_data(run, data, reading, say), how, names)]
    if len(gold) != len(told):
        raise RunError(f"there are {len(told)} predictions and {len(gold)} rows in the data")
    deep = {name: inner(run.model, run.model.variable[name]) for name in names}
    both = {
        name: ([single(row.get(name), name, deep[name]) for row in told], [row.get(name) for row in gold]) for name in names
    }
    values: dict[str, dict[str, float]] = {}
    for metric in metrics:
        about = [name for name in names if suits(run.model, run.model.variable[name], metric.name)]
        if not about:
            known = listed([f"{name} : {run.model.variable[name].type}" for name in names])
            raise RunError(f"{metric} is of {WANTED[metric.name]}, and what is predicted is {known}")
        for name in about:
            values.setdefault(name, {})[metric.name] = number(run.model, metric, name, both)
    return values


def single(value: Any, name: str, depth: int) -> Any:
    """A prediction that is one value at each element, after so many lists; RunError for several, as draws or probabilities."""
    items = value if depth and isinstance(value, list) else [value]
    if any(isinstance(item, dict) or (isinstance(item, list) and depth < 2) for item in items):
        raise RunError(f"metrics compare one prediction of `{name}` a row: --rule mode, greedy or beam(5)")
    return value


def gold_of(run: Run, data: Dataset, how: How, names: Sequence[str]) -> Iterator[Told]:
    """What the data have of these variables, as predictions are told; None where they have nothing."""

    def rows() -> Iterator[Told]:
        for indices in data.order(how.size(run)):
            batch = data.batch(indices)
            told = Rows(run.model, run.encoders, batch)
            values = told.values({name: batch[name] for name in names if name in batch}, cut=True)
            seen = told.numbers({name: batch[f"{name}_observed"] for name in names if f"{name}_observed" in batch})
            for i, row in enumerate(values):
                hidden = seen[i] if seen else {}
                yield (
                    {name: masked(value, hidden.get(name), begins(run, name)) for name, value in row.items()},
                    Aligned(run.model, {}),
                )

    return by_element(run.model, data.tables, rows(), labels_of(run.model, run.encoders), data.keys, data.unmet)


def begins(run: Run, name: str) -> int:
    """How many symbols stand before a variable's sequences that are not told."""
    type_ = run.model.variable[name].type
    vocabulary = run.encoders.vocabularies.get(str(type_.card)) if type_.domain == "token" else None
    return int(vocabulary is not None and vocabulary.begin is not None)


def masked(value: Any, seen: Any, first: int) -> Any:
    """A value with None where nothing was seen of it. seen: the same lists, of whether it was; a sequence may have been told
    without the symbols around it."""
    if seen is None:
        return value
    if not isinstance(seen, list):
        return value if seen else measures.MISSING
    skip = first if len(seen) > len(value) else 0
    return [masked(item, there, first) for item, there in zip(value, seen[skip : skip + len(value)], strict=True)]


def inner(model: Model, variable: Variable) -> int:
    """How many lists a row's value of a variable is, one in another."""
    return (
        sum(not model.plate[name].data for name in variable.plates)
        + len(variable.type.shape)
        + {"tree": 1, "parse": 2}.get(variable.type.domain, 0)
    )


def suits(model: Model, variable: Variable, metric: str) -> bool:
    """Whether a metric is about such a variable."""
    type_ = variable.type
    match metric:
        case "accuracy":
            return type_.discrete and type_.domain not in ("count", "parse")
        case "brackets":
            return type_.domain == "parse"
        case "uas" | "las":
            return type_.domain == "tree"
        case "f1":
            return type_.domain in ("token", "category") and inner(model, variable) == 1 and not type_.shape
        case _:
            return type_.domain == "token" and inner(model, variable) == 1 and not type_.shape


def number(model: Model, metric: Metric, name: str, both: dict[str, tuple[list[Any], list[Any]]]) -> float:
    """The metric of one variable."""
    found, gold = both[name]
    apart = between(model, model.variable[name])
    match metric.name:
        case "accuracy" | "uas":
            return measures.accuracy(found, gold)
        case "brackets":
            return measures.brackets(found, gold, metric.options["labels"] == "yes")
        case "f1":
            return measures.f1(found, gold, metric.options["span"])
        case "bleu":
            return measures.bleu(found, gold, apart, metric.options["tokenize"])
        case "chrf":
            return measures.chrf(found, gold, apart)
        case _:
            return measures.las(both[name], both[label_of_arcs(model, name, both)])


def label_of_arcs(model: Model, tree: str, both: Iterable[str]) -> str:
    """The one variable that labels the words of a tree."""
    plate = model.variable[tree].type.plate
    labels = [name for name in both if plate in model.variable[name].plates and suits(model, model.variable[name], "f1")]
    if len(labels) != 1:
        there = listed(labels) if labels else "nothing"
        raise RunError(
            f"las counts words with the right head and label: {there} is predicted along plate `{plate}`, not one label"
        )
    return labels[0]
