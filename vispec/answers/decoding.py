"""Sequences that end by a symbol of their own, decided row by row: greedy, by beams, by draws. No answer is needed for them."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vispec.answers.how import How
from vispec.answers.measured.measures import sentence_utility
from vispec.answers.questions import decision
from vispec.answers.reading import Say
from vispec.model.model import Model, Variable
from vispec.train.data import Dataset
from vispec.train.errors import OptionError, RunError
from vispec.train.scores.ends import cut, ending, longest
from vispec.train.scores.rows import Rows
from vispec.train.store.changed import Hidden
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run

TERM = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*\*?\s*)?(?:\|(\w+)\|)?\s*")


@dataclass(frozen=True)
class Decisions:
    """How sequences are decided. rule and how: as the module's `sequences` takes them. best: how many of each row are told.
    limit: the most elements, in terms of the lengths of what is given; None: some times the longest of the training data.
    score: whether log-probabilities are told, in nats. utility: of several, that one is told which is on average the nearest to
    all of them by it."""

    rule: str = "greedy"
    how: Mapping[str, Any] = field(default_factory=dict[str, Any])
    best: int = 1
    limit: str | None = None
    score: bool = False
    utility: str | None = None

    @classmethod
    def of(cls, text: str, limit: str | None = None, score: bool = False) -> "Decisions":
        """Of a rule as the user writes it."""
        rule, how = decision(text)
        if rule == "beam":
            best = int(how.pop("n", 1))
            if best > int(how.setdefault("width", 5)):
                raise OptionError(f"--rule {text}: a beam of {how['width']} has no {best} best")
            return cls(rule, how, best, limit, score)
        if rule == "sample":
            samples = int(how.pop("n", 1))
            return cls(rule, {**how, "samples": samples}, samples, limit, score)
        if rule == "mbr":
            samples = int(how.pop("samples", 20))
            return cls("sample", {"samples": samples}, samples, limit, score, str(how.get("utility", "bleu")))
        return cls("greedy", {}, 1, limit, score)


def decidable(run: Run) -> Variable | None:
    """The one sequence of a model that is made by its own end, where nothing else is to be found."""
    ends = ending(run.model, run.encoders)
    observed = [variable for variable in run.model.variables if variable.role in ("observed", "partial")]
    if len(observed) != 1 or isinstance(run, Hidden):
        return None
    return next((variable for variable in ends.values() if variable is observed[0]), None)


def decided(run: Run, data: Dataset, variable: Variable, how: How, decisions: Decisions, say: Say) -> Iterator[dict[str, Any]]:
    """A row for each of the data. Raises RunError where the model's sequences cannot be made element by element."""
    module = run.load(how.place)
    open_ = 0
    with evaluating(module, how.seed, how.place):
        for indices in data.order(how.size(run)):
            batch = to_device(data.batch(indices), how.place)
            found = sequences(run, module, variable, batch, len(indices), decisions)
            open_ += int(
                (found["lengths"][:, : decisions.best] > 0).sum() - ends(run, variable, found)[:, : decisions.best].sum()
            )
            rows = told(run, variable, found, decisions)
            yield from rows if decisions.utility is None else (nearest(row, variable.name, decisions.utility) for row in rows)
    if open_:
        say(f"{open_} sequences were given up at their longest, before an end; --max-length says how long that is")


def sequences(
    run: Run, module: nn.Module, variable: Variable, batch: dict[str, Tensor], n: int, decisions: Decisions
) -> dict[str, Tensor]:
    """What the module decides for one batch."""
    most = limits(run, variable, batch, n, decisions.limit)
    if hasattr(module, "sequences"):
        end = end_of(run, variable)
        return module.sequences(batch, n, end, most, rule=decisions.rule, **decisions.how)  # pyright: ignore[reportCallIssue]
    odd = [*decisions.how.keys() - {"samples"}, *(["--score"] if decisions.score else [])]
    if decisions.rule == "beam" or odd:
        first = (odd or ["a beam"])[0]
        raise RunError(
            f"the law of `{variable.name}` reads more than what comes before, so that {first} is not to be had; "
            "greedy and sample are"
        )
    return at_once(run, module, variable, batch, n, decisions, most)


def at_once(
    run: Run,
    module: nn.Module,
    variable: Variable,
    batch: dict[str, Tensor],
    n: int,
    decisions: Decisions,
    most: Tensor,
) -> dict[str, Tensor]:
    """The same from whole rows, which are cut at their ends; without log-probabilities."""
    rule, plate = "mode" if decisions.rule == "greedy" else "sample", variable.plates[-1]
    drawn = [module.generate(n, batch, {plate: most}, rule)[variable.name] for _ in range(decisions.best)]  # pyright: ignore[reportCallIssue]
    tokens = torch.stack([nn.functional.pad(each, (0, int(most.max()) - each.shape[1])) for each in drawn], 1)
    key = run.model.plate[plate].length_key
    lengths = [cut(run.model, run.encoders, {variable.name: each}, {plate: variable})[key] for each in drawn]
    found = torch.minimum(torch.stack(lengths, 1), most[:, None])
    return {"tokens": tokens, "lengths": found, "log_prob": found.new_zeros(found.shape)}


def end_of(run: Run, variable: Variable) -> int:
    vocabulary = run.encoders.vocabularies[str(variable.type.card)]
    return vocabulary.ids[str(vocabulary.end)]


def ends(run: Run, variable: Variable, found: Mapping[str, Tensor]) -> Tensor:
    """Which sequences (n, S) have their end."""
    last = found["tokens"].gather(-1, (found["lengths"] - 1).clamp(min=0)[..., None])[..., 0]
    return (last == end_of(run, variable)) & (found["lengths"] > 0)


def told(run: Run, variable: Variable, found: Mapping[str, Tensor], decisions: Decisions) -> Iterator[dict[str, Any]]:
    """Each row's sequences, without their ends; of several a list."""
    key = run.model.plate[variable.plates[-1]].length_key
    columns = [
        Rows(run.model, run.encoders, {key: found["lengths"][:, rank]}).values(
            {variable.name: found["tokens"][:, rank]}, cut=True
        )
        for rank in range(decisions.best)
    ]
    for row, cells in enumerate(zip(*columns, strict=True)):
        scores = found["log_prob"][row, : decisions.best].tolist()
        possible = [cell[variable.name] for cell, score in zip(cells, scores, strict=True) if score > -float("inf")]
        several = decisions.best > 1
        row_told: dict[str, Any] = {variable.name: possible if several else next(iter(possible), None)}
        if decisions.score:
            row_told["log_prob"] = scores[: len(possible)] if several else scores[0] if possible else None
        yield row_told


def nearest(row: dict[str, Any], name: str, utility: str) -> dict[str, Any]:
    """Of a row's several sequences the one of least risk: with the highest mean utility, the others taken for the truth
    (Kumar and Byrne, 2004)."""
    near = sentence_utility(utility)
    texts = [" ".join(map(str, words)) for words in row[name]]
    counts = Counter(texts)
    value = {text: sum(count * near(text, other) for other, count in counts.items()) for text in counts}
    best = max(range(len(texts)), key=lambda at: value[texts[at]])
    return {key: values[best] for key, values in row.items()}


def limits(run: Run, variable: Variable, batch: Mapping[str, Tensor], n: int, text: str | None) -> Tensor:
    """How many elements each row has at most (n,), the end counted in."""
    plate = variable.plates[-1]
    if text is None:
        return torch.full((n,), longest(run.config.lengths.get(plate) or {1: 1}))
    total = torch.zeros(n, dtype=torch.float64)
    for number, name in terms(run.model, text):
        total += number if name is None else number * batch[run.model.plate[name].length_key].cpu()
    if bool((total < 1).any()):
        raise OptionError(f"--max-length {text} leaves no element to some row")
    return total.floor().long()


def terms(model: Model, text: str) -> list[tuple[float, str | None]]:
    """`2*|y| + 10` as [(2, plate of y), (10, None)]; OptionError for anything else."""
    found = list[tuple[float, str | None]]()
    for part in text.split("+"):
        match = TERM.fullmatch(part)
        if match is None or not any(match.groups()):
            raise OptionError(f"--max-length {text}: write a number, or lengths of what is given and a number: 2*|y| + 10")
        number, name = match.groups()
        found.append((float(number or 1), None if name is None else sized(model, name, text)))
    return found


def sized(model: Model, name: str, text: str) -> str:
    """The plate of data whose length a name says: the plate's own, or that of a variable in it."""
    given = {variable.name: variable.plates[-1] for variable in model.variables if variable.role == "given" and variable.plates}
    known = {**given, **{plate: plate for plate in given.values()}}
    plate = known.get(name)
    if plate is None or not model.plate[plate].ragged or len(model.plate[plate].inside) != 1:
        names = ", ".join(f"|{each}|" for each, own in known.items() if model.plate[own].ragged) or "there is none"
        raise OptionError(f"--max-length {text}: no length is called |{name}|; lengths of what is given: {names}")
    return plate
