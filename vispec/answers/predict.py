"""Missing cells of partial variables from what is seen, or else observed variables from the given ones."""

from collections.abc import Collection, Iterator, Sequence
from re import fullmatch
from typing import Any

from vispec.answers.decoding import Decisions, decidable, decided
from vispec.answers.elements import Told, by_element
from vispec.answers.fresh import with_new
from vispec.answers.how import How
from vispec.answers.questions import ASK_STRETCHES, has_whole_stretches, is_decision, is_rule, unknown_rule
from vispec.answers.reading import Say, fills, load_given, load_shown, say_flat
from vispec.answers.show import Aligned, labels_of
from vispec.model.model import Variable
from vispec.model.problems import did_you_mean, listed
from vispec.model.walk import grown_trees
from vispec.train.data import Dataset
from vispec.train.errors import OptionError, RunError
from vispec.train.reading import Reading
from vispec.train.scores.rows import Rows
from vispec.train.store.changed import Hidden, predictable
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run


def predict(
    run: Run,
    data: Sequence[str],
    reading: Reading,
    how: How,
    say: Say,
    rule: str | None = None,
    targets: Sequence[str] = (),
    new: bool = False,
    limit: str | None = None,
    score: bool = False,
) -> Iterator[Told]:
    """Each row's predictions. rule: one of RULES or DECISIONS, None: mode where all that is predicted is discrete, else mean;
    of sequences that end by a symbol of their own, greedy. targets: observed or partial variables to predict from all else.
    new: whether rows may be of elements that the fit did not meet, whose latents then come from their laws. limit, score: of
    such sequences, see Decisions. Raises DataError, RunError, OptionError."""
    if rule is not None and not is_rule(rule):
        raise OptionError(unknown_rule(rule))
    run = with_new(run, data, reading) if new else run
    variable = decidable(run)
    all_asked = variable is not None and {*targets} <= {variable.name}
    if variable is not None and all_asked and (rule in (None, "mode") or is_decision(rule)):
        decisions = Decisions.of("greedy" if rule in (None, "mode") else rule, limit, score)
        return written(run, data, reading, how, say, variable, decisions)
    told = [name for name, asked_ in (("--max-length", limit is not None), ("--score", score)) if asked_]
    if told or (rule is not None and rule != "greedy" and is_decision(rule) and not fullmatch(r"sample(\(\d+\))?", rule)):
        what = told[0] if told else f"--rule {rule}"
        raise OptionError(f"{what} is for sequences that end by a symbol of their own, `vocab V(end=true)`, and nothing else")
    run = asked(run, targets, rule)
    if not fills(run):
        say_flat(run, say)
    dataset = load_shown(run, data, reading, say)
    told = predictions(run, dataset, rule or default_rule(run), how)
    return by_element(run.model, dataset.tables, told, labels_of(run.model, run.encoders), dataset.keys, dataset.unmet)


def written(
    run: Run, data: Sequence[str], reading: Reading, how: How, say: Say, variable: Variable, decisions: Decisions
) -> Iterator[Told]:
    """Sequences that end by a symbol of their own, for each row of what is given."""
    dataset = load_given(run, data, reading, say)
    given = {name for name, each in run.model.variable.items() if each.role == "given"}
    rows = decided(run, dataset, variable, how, decisions, say)
    beside = shown(run, dataset, given, how)
    told = ((row, Aligned(run.model, values)) for row, values in zip(rows, beside, strict=True))
    return by_element(run.model, dataset.tables, told, labels_of(run.model, run.encoders), dataset.keys, dataset.unmet)


def shown(run: Run, data: Dataset, names: Collection[str], how: How) -> Iterator[dict[str, Any]]:
    """Each row's values of these variables."""
    for indices in data.order(how.size(run)):
        batch = data.batch(indices)
        told = Rows(run.model, run.encoders, batch).values({name: batch[name] for name in names if name in batch})
        yield from told or [{} for _ in indices]


def asked(run: Run, targets: Sequence[str], rule: str | None) -> Run:
    """The run with what is to be predicted hidden, where that is not what is missing."""
    known = [v.name for v in run.model.variables if v.role in ("observed", "partial")]
    for name in targets:
        if name not in known:
            help_ = did_you_mean(name, known, f"there are: {listed(known)}")
            raise RunError(f"--target names `{name}`, which is no observed or partial variable; {help_}")
    if targets:
        return Hidden.of(run, targets=frozenset(targets))
    return run if fills(run) or rule == "greedy" else predictable(run)


def default_rule(run: Run) -> str:
    """mode where all that is predicted is discrete, else mean."""
    roles = ("partial",) if fills(run) else ("observed", "partial")
    observed = [variable for variable in run.model.variables if variable.role in roles]
    return "mode" if all(variable.type.discrete for variable in observed) else "mean"


def predictions(run: Run, data: Dataset, rule: str, how: How) -> Iterator[Told]:
    """Each row's predictions, and the data that they stand beside."""
    module = run.load(how.place)
    if has_whole_stretches(run.model):
        raise RunError(f"words are stretches of what is given here: {ASK_STRETCHES}")
    if (grown := grown_trees(run.model)) and not hasattr(module, "predict"):
        tells = "`vispec posterior RUN DATA --query mode` tells the best heads of a latent tree"
        raise RunError(f"drawing from the law of `{grown[0]}` is not compiled, so nothing is predicted: {tells}")
    if not hasattr(module, "predict"):
        raise RunError("this model has nothing to predict")
    many = {} if how.samples is None else {"samples": how.samples}
    with evaluating(module, how.seed, how.place):
        for indices in data.order(how.size(run)):
            batch = to_device(data.batch(indices), how.place)
            batch = run.hide(batch) if isinstance(run, Hidden) else batch
            try:
                found = module.predict(batch, rule="mode" if rule == "greedy" else rule, **many)  # pyright: ignore[reportCallIssue]
            except (ValueError, NotImplementedError) as error:
                raise RunError(str(error)) from error
            except KeyError as error:
                missing = str(error.args[0])
                if missing in batch or not missing.endswith("_len"):
                    raise
                name = missing.removesuffix("_len")
                raise RunError(f"the data do not say how long each row is; give a column `{name}`") from error
            rows = Rows(run.model, run.encoders, {**batch, **found})
            told = rows.predicted(found, rule)
            given = {k: v for k, v in batch.items() if k in run.model.variable and run.model.variable[k].role == "given"}
            beside = Rows(run.model, run.encoders, batch).values(given) or [{} for _ in told]
            yield from ((row, Aligned(run.model, values)) for row, values in zip(told, beside, strict=True))
