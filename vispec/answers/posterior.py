"""What the data say about each latent variable, row by row."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vispec.answers.drawn import Drawn, Indices, Telling
from vispec.answers.elements import Told, beside, by_element
from vispec.answers.fresh import with_new
from vispec.answers.how import How
from vispec.answers.questions import has_whole_stretches, is_query, unknown_query
from vispec.answers.reading import Say, load_data
from vispec.answers.show import Aligned, labels_of
from vispec.model.constant import derived_lets
from vispec.model.types import FINITE_DOMAINS
from vispec.train.data import Dataset
from vispec.train.errors import OptionError, RunError
from vispec.train.reading import Reading
from vispec.train.scores.comparison import load_other
from vispec.train.scores.moments import DRAWS, moments
from vispec.train.scores.rows import Rows
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run

Found = Mapping[str, torch.Tensor | Mapping[str, torch.Tensor]]
"""By latent: an answer, or a guide's parameters."""


def posterior(
    run: Run,
    data: Sequence[str],
    reading: Reading,
    how: How,
    say: Say,
    query: str | None = None,
    of: str | None = None,
    usual: str = "marginals",
    new: bool = False,
) -> Iterator[Told]:
    """Each row's answers, behind those that rows share. query: one of QUERIES, None: moments where guides need draws, else the
    usual one. of: a derived quantity to tell of instead. new: whether rows may be of elements that the fit did not meet.
    Raises DataError, RunError, OptionError."""
    if of is not None and query is not None:
        raise OptionError("a derived quantity has a mean: it takes no query")
    if query is not None and not is_query(query):
        raise OptionError(unknown_query(query))
    run = with_new(run, data, reading) if new else run
    dataset = load_data(run, data, reading, say, spare=True)
    module, drawn = run.load(how.place, how.memory), Drawn.of(run)
    if of is not None:
        check_derived(run, of)
    if drawn.shared and drawn.blind:
        say(drawn.untold)
    if has_whole_stretches(run.model) and all(v.type.card == 1 for v in run.model.variables if v.role == "latent"):
        usual = "stretches"  # which have no labels to tell of
    if drawn.asked(run, module, query, of, how):
        told = drawn_told(run, module, dataset, drawn, query or drawn.usual(run.model, usual), of, how, say)
    elif of is not None:
        told = quantity(run, module, dataset, of, how)
    else:
        told = answers(run, module, dataset, query or asked_first(module, usual), how)
    return by_element(run.model, dataset.tables, told, labels_of(run.model, run.encoders), dataset.keys, dataset.unmet)


def asked_first(module: nn.Module, usual: str) -> str:
    """The query where nobody says one: moments of guides that are told by draws alone, marginals where nothing is summed."""
    if hasattr(module, "draws") and not hasattr(module, "tilted"):
        return "moments"
    return usual if hasattr(module, "tilted") else "marginals"


def drawn_told(
    run: Run, module: nn.Module, data: Dataset, drawn: Drawn, query: str, of: str | None, how: How, say: Say
) -> Iterator[Told]:
    """Each row's answers where latents were drawn in the fit: by sums where these fit, else by weighted draws."""
    telling = Telling.of(run, module, drawn, how, say)
    if of is not None:
        return telling.told(data, lambda run, module, indices: derived(run, module, data, indices, of, how)[1], "marginals", of)
    summed = telling.summed
    other = None if summed is None or not query.startswith("kl(") else other_of(*summed, query, how)
    return telling.told(data, lambda run, module, indices: told_rows(run, module, data, indices, query, other, how)[1], query)


def other_of(run: Run, module: nn.Module, query: str, how: How) -> nn.Module:
    """The module that `kl(RUN)` names."""
    return load_other(run, module, Path(query[3:-1]), how.place, how.memory)


def answers(run: Run, module: nn.Module, data: Dataset, query: str, how: How) -> Iterator[Told]:
    """The guides of what rows share, once, if anything; then each row's answers, where it has any, and what its variables stand
    beside, for a reader."""
    if query.startswith("moments"):
        yield from told_moments(run, module, data, query, how)
        return
    other = other_of(run, module, query, how) if query.startswith("kl(") else None
    if not hasattr(module, "posterior") and hasattr(module, "draws"):
        raise RunError("the guides of this model are told by their draws: ask for `moments`")
    if not hasattr(module, "posterior"):
        raise RunError("this model has no latent variables, so there is no posterior; see `vispec predict`")
    with evaluating(module, how.seed, how.place):
        for first, indices in enumerate(data.order(how.size(run))):
            try:
                common, told = told_rows(run, module, data, indices, query, other, how)
            except ValueError as error:
                raise RunError(str(error)) from error
            if common and not first:
                yield {"(shared)": common}, Aligned(run.model, {})
            yield from told


def told_rows(
    run: Run, module: nn.Module, data: Dataset, indices: Indices, query: str, other: nn.Module | None, how: How
) -> tuple[dict[str, Any], list[Told]]:
    """What all rows share, and what the module says of some. ValueError where it has no answer."""
    batch = to_device(data.batch(indices), how.place)
    rows = Rows(run.model, run.encoders, batch)
    asked = {"query": query} if other is None else {"query": "kl", "other": other}
    found: Found = module.posterior(batch, **asked)  # pyright: ignore[reportCallIssue]
    return rows.shared(guides_of(found)), beside(rows, batch, answer(found, rows, query))


def quantity(run: Run, module: nn.Module, data: Dataset, name: str, how: How) -> Iterator[Told]:
    """The posterior mean of a derived quantity in each row; once, of what all rows share."""
    asked_of = getattr(module, "posterior", None)
    if asked_of is None or "of" not in inspect.signature(asked_of).parameters:
        raise RunError("the module of this run tells of no derived quantity: it is of an earlier version; fit it again")
    with evaluating(module, how.seed, how.place):
        for indices in data.order(how.size(run)):
            common, told = derived(run, module, data, indices, name, how)
            if common:
                yield {"(shared)": common}, Aligned(run.model, {})
                return
            yield from told


def derived(
    run: Run, module: nn.Module, data: Dataset, indices: Indices, name: str, how: How
) -> tuple[dict[str, Any], list[Told]]:
    """A derived quantity of all rows, or of some: its mean, or the probabilities of its values. ValueError where it takes too
    much."""
    batch = to_device(data.batch(indices), how.place)
    rows, asked_of = Rows(run.model, run.encoders, batch), getattr(module, "posterior")  # noqa: B009
    found = asked_of(batch, of=name, **({} if how.samples is None or not by_draws(asked_of) else {"samples": how.samples}))
    if common := rows.shared({name: {"mean": found[name]}}):
        return common, []
    finite = run.model.let[name].type.domain in FINITE_DOMAINS
    return {}, beside(rows, batch, rows.distributions(found) if finite else rows.numbers(found))


def check_derived(run: Run, name: str) -> None:
    """RunError for what is no derived quantity."""
    known = [let.name for let in derived_lets(run.model)]
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "this model has none"
        raise RunError(f"`{name}` is no derived quantity, a `let` that no law reads; {there}")


def by_draws(method: Any) -> bool:
    """Whether a number of samples can be asked for."""
    return "samples" in inspect.signature(method).parameters


def told_moments(run: Run, module: nn.Module, data: Dataset, query: str, how: How) -> Iterator[Told]:
    """What rows share, once, if anything; and then each row's own."""
    if not hasattr(module, "draws"):
        raise RunError("no latent with a guide is shared by all rows, and no guide is a flow: ask for `marginals`")
    samples = int(query[8:-1]) if "(" in query else DRAWS
    for first, indices in enumerate(data.order(how.size(run))):
        with evaluating(module, how.seed, how.place):
            batch = to_device(data.batch(indices), how.place)
            found = moments(module, batch, len(indices), samples)
        rows = Rows(run.model, run.encoders, batch)
        own = rows.distributions(found)
        common = {} if first else rows.shared(found)
        if common:
            yield {"(shared)": common}, Aligned(run.model, {})
        for row in own:
            yield row, Aligned(run.model, {})


def guides_of(found: Found) -> dict[str, Mapping[str, torch.Tensor]]:
    """The guides' parameters among the answers."""
    return {name: value for name, value in found.items() if isinstance(value, Mapping)}


def answer(found: Found, rows: Rows, query: str) -> list[dict[str, Any]]:
    """One batch's answers, row by row: of k best, a list of assignments; beside entropies and divergences, that of all latents
    together. Empty where rows have no latents of their own."""
    summed = {name: value for name, value in found.items() if not isinstance(value, Mapping)}
    if query == "marginals":
        told = rows.distributions(summed)
    elif query == "pairs":
        told = rows.pairs(summed)
    elif query.startswith("tree"):
        told = rows.parses(summed)
    elif query == "stretches":
        told = [
            {name: nodes_of(value[row]) for name, value in summed.items()}
            for row in range(len(next(iter(summed.values()), ())))
        ]
    elif query == "boundaries":
        told = rows.numbers(summed)
    elif query == "entropy" or query.startswith("kl("):
        together = summed.get("(joint)")
        told = rows.numbers(summed)
        if together is not None:
            told = [row | {"(joint)": value} for row, value in zip(told, together.tolist(), strict=True)]
    elif "(log_joint)" in summed:
        told = [{query: best} for best in assignments(summed, rows)]
    else:
        told = rows.values(summed)
    guided = rows.distributions(guides_of(found))
    return [a | b for a, b in zip(told, guided, strict=True)] if told and guided else told or guided


def nodes_of(tree: torch.Tensor) -> list[Any]:
    """The stretches of one sequence: first element, last element, label."""
    if tree.dim() > 2:
        return [nodes_of(each) for each in tree]
    return [node for node in tree.tolist() if node[0] >= 0]


def assignments(found: Mapping[str, torch.Tensor], rows: Rows) -> list[list[dict[str, Any]]]:
    """For each row its assignments, best first, each with its log-joint in nats; those that are impossible are left out."""
    scores = found["(log_joint)"]
    told = {name: value for name, value in found.items() if name != "(log_joint)"}
    nodes = all(value.dim() == 4 and rows.model.variable[name].type.domain == "parse" for name, value in told.items())
    tell = rows.parses if nodes else rows.values
    ranks = [tell({name: value[:, k] for name, value in told.items()}) for k in range(scores.shape[1])]
    return [
        [{"(log_joint)": s} | rank[row] for s, rank in zip(score, ranks, strict=True) if s > float("-inf")]
        for row, score in enumerate(scores.tolist())
    ]
