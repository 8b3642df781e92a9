"""What the data say about each latent variable, row by row."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vispec.answers.elements import Told, by_element
from vispec.answers.fresh import with_new
from vispec.answers.how import How
from vispec.answers.questions import is_query, unknown_query
from vispec.answers.reading import Say, load_data
from vispec.answers.show import Aligned, labels_of
from vispec.diagnostics import SpecError
from vispec.model.constant import derived_lets
from vispec.model.problems import listed
from vispec.model.types import FINITE_DOMAINS
from vispec.train.data import Dataset
from vispec.train.errors import OptionError, RunError
from vispec.train.reading import Reading
from vispec.train.scores.comparison import load_other
from vispec.train.scores.moments import DRAWS, moments
from vispec.train.scores.rows import Rows
from vispec.train.store.changed import Summed
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
    run, module = summed(run, run.load(how.place, how.memory), how, say)
    if of is not None:
        told = quantity(run, module, dataset, of, how)
    else:
        told = answers(run, module, dataset, query or asked_first(module, usual), how)
    return by_element(run.model, dataset.tables, told, labels_of(run.model, run.encoders), dataset.keys, dataset.unmet)


def asked_first(module: nn.Module, usual: str) -> str:
    """The query where nobody says one: moments of guides that are told by draws alone, marginals where nothing is summed."""
    if hasattr(module, "draws") and not hasattr(module, "tilted"):
        return "moments"
    return usual if hasattr(module, "tilted") else "marginals"


def summed(run: Run, module: nn.Module, how: How, say: Say) -> tuple[Run, nn.Module]:
    """The run and its module; where latents were only sampled in the fit, those of the same model with sums in their place."""
    latent = [variable.name for variable in run.model.variables if variable.role == "latent"]
    if hasattr(module, "posterior") or hasattr(module, "draws") or not latent:
        return run, module
    found = Summed.of(run)
    try:
        module = found.load(how.place, how.memory)
    except SpecError as error:
        why = error.diagnostics[0].message
        raise RunError(f"{listed(latent)} were sampled in the fit, and cannot be summed for a posterior: {why}") from error
    say(f"{listed(latent)}: sampled in the fit, summed here")
    return found, module


def answers(run: Run, module: nn.Module, data: Dataset, query: str, how: How) -> Iterator[Told]:
    """The guides of what rows share, once, if anything; then each row's answers, where it has any, and what its variables stand
    beside, for a reader."""
    if query.startswith("moments"):
        yield from told_moments(run, module, data, query, how)
        return
    other = load_other(run, module, Path(query[3:-1]), how.place, how.memory) if query.startswith("kl(") else None
    if not hasattr(module, "posterior") and hasattr(module, "draws"):
        raise RunError("the guides of this model are told by their draws: ask for `moments`")
    if not hasattr(module, "posterior"):
        raise RunError("this model has no latent variables, so there is no posterior; see `vispec predict`")
    with evaluating(module, how.seed, how.place):
        for first, indices in enumerate(data.order(how.size(run))):
            batch = to_device(data.batch(indices), how.place)
            rows = Rows(run.model, run.encoders, batch)
            found = ask(module, batch, query, other)
            common = {} if first else rows.shared(guides_of(found))
            if common:
                yield {"(shared)": common}, Aligned(run.model, {})
            beside = rows.values({name: value for name, value in batch.items() if name in run.model.variable})
            for i, row in enumerate(answer(found, rows, query)):
                yield row, Aligned(run.model, beside[i] if beside else {})


def quantity(run: Run, module: nn.Module, data: Dataset, name: str, how: How) -> Iterator[Told]:
    """The posterior mean of a derived quantity in each row; once, of what all rows share."""
    known = {let.name: let for let in derived_lets(run.model)}
    if name not in known:
        there = f"there are {', '.join(known)}" if known else "this model has none"
        raise RunError(f"`{name}` is no derived quantity, a `let` that no law reads; {there}")
    asked_of = getattr(module, "posterior", None)
    if asked_of is None or "of" not in inspect.signature(asked_of).parameters:
        raise RunError("the module of this run tells of no derived quantity: it is of an earlier version; fit it again")
    asked: dict[str, Any] = {"of": name} | ({} if how.samples is None or not by_draws(asked_of) else {"samples": how.samples})
    finite = known[name].type.domain in FINITE_DOMAINS
    with evaluating(module, how.seed, how.place):
        for indices in data.order(how.size(run)):
            batch = to_device(data.batch(indices), how.place)
            rows, found = Rows(run.model, run.encoders, batch), asked_of(batch, **asked)
            if common := rows.shared({name: {"mean": found[name]}}):
                yield {"(shared)": common}, Aligned(run.model, {})
                return
            beside = rows.values({n: value for n, value in batch.items() if n in run.model.variable})
            for i, row in enumerate(rows.distributions(found) if finite else rows.numbers(found)):
                yield row, Aligned(run.model, beside[i] if beside else {})


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


def ask(module: nn.Module, batch: dict[str, torch.Tensor], query: str, other: nn.Module | None) -> Found:
    """What the module says of one batch; RunError where the model has no answer."""
    asked = {"query": query} if other is None else {"query": "kl", "other": other}
    try:
        return module.posterior(batch, **asked)  # pyright: ignore[reportCallIssue]
    except ValueError as error:
        raise RunError(str(error)) from error


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


def assignments(found: Mapping[str, torch.Tensor], rows: Rows) -> list[list[dict[str, Any]]]:
    """For each row its assignments, best first, each with its log-joint in nats; those that are impossible are left out."""
    scores = found["(log_joint)"]
    ranks = [rows.values({name: value[:, k] for name, value in found.items()}) for k in range(scores.shape[1])]
    return [
        [{"(log_joint)": s} | rank[row] for s, rank in zip(score, ranks, strict=True) if s > float("-inf")]
        for row, score in enumerate(scores.tolist())
    ]
