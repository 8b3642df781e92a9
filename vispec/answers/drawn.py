"""Posteriors of latents that a fit only drew: by sums in the rows where these fit their budget, by weighted draws in others."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from vispec.answers.elements import Told, beside
from vispec.answers.how import How
from vispec.answers.reading import Say
from vispec.diagnostics import SpecError
from vispec.lower.weights import reads_of
from vispec.model.model import Model
from vispec.model.problems import listed
from vispec.model.types import FINITE_DOMAINS
from vispec.plan.guides import is_shared
from vispec.plan.planner import plan_of
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.scores.rows import Rows
from vispec.train.scores.weighed import averaged, chosen
from vispec.train.store.changed import Summed, Weighed
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run

SAMPLES = 1000
EFFECTIVE = "(effective_samples)"
QUERIES = ("marginals", "mode", "sample")
Indices = Sequence[int] | np.ndarray[Any, Any]
Answer = Callable[[Run, nn.Module, Indices], list[Told]]
"""What a run's module that sums says of some rows; ValueError where its sums take too much."""


@dataclass(frozen=True)
class Drawn:
    """What a fit draws in each row. names: of these variables. blind: those of them that are discrete, or have no guide: no
    guide's parameters tell of them. shared: what all rows share and is drawn. rows: whether the module itself sums rows, up to
    what the spec says."""

    names: tuple[str, ...]
    blind: tuple[str, ...]
    shared: tuple[str, ...]
    rows: bool

    @classmethod
    def of(cls, run: Run) -> "Drawn":
        plan = plan_of(run.model)
        at = (plan.alternative or plan).row
        drawn = [name for name, found in at.treatments.items() if found.kind == "draw" and found.gradient != "point"]
        model: Model = at.f.model
        own = [name for name in drawn if not is_shared(model.variable[name], model)]
        guided = {guide.name for guide in model.guide} | {*(model.joint.names if model.joint is not None else ())}
        blind = [name for name in own if model.variable[name].type.discrete or name not in guided]
        shared = [name for name in drawn if name not in own] + [net.name for net in model.nets if net.random]
        rows = plan.alternative is not None and plan.row.combine == "exact"
        return cls(tuple(own), tuple(blind), tuple(shared), rows)

    @property
    def untold(self) -> str:
        """Of what no posterior tells: weighted draws of a row would tell what rows share from that row alone."""
        beside, shared = listed(self.blind), listed(self.shared)
        return (
            f"{beside}: drawn in each row beside {shared}, which rows share, so that no posterior tells of it; it does where "
            "what is shared is a point, by `map` in `infer:`"
        )

    def usual(self, model: Model, usual: str) -> str:
        """The query where nobody says one: no number is told by its value in one draw alone."""
        return usual if all(model.variable[name].type.discrete for name in self.names) else "marginals"

    def asked(self, run: Run, module: nn.Module, query: str | None, of: str | None, how: How) -> bool:
        """Whether a call is answered by it: where guides do not tell of all, or more than their parameters is wanted."""
        if self.shared or not self.names:
            return False
        if of is not None:
            let, hidden = run.model.let[of], {v.name for v in run.model.variables if v.role in ("latent", "partial")}
            return any(run.model.plate[plate].data for plate in let.plates) and bool(reads_of(let, run.model) & hidden)
        unanswered = query in QUERIES[hasattr(module, "guides") :] and not hasattr(module, "tilted")
        return bool(self.blind) or unanswered or how.samples is not None


@dataclass
class Telling:
    """How the rows of one call are told. summed: a run with sums in the place of draws, and its module; None where there is
    none, and `why`."""

    run: Run
    drawn: Drawn
    how: How
    say: Say
    summed: tuple[Run, nn.Module] | None = None
    why: str = ""
    count: int = 0

    @classmethod
    def of(cls, run: Run, module: nn.Module, drawn: Drawn, how: How, say: Say) -> "Telling":
        """By sums, if the module has them or can be given them."""
        found = cls(run, drawn, how, say)
        if not drawn.blind:
            pass  # the parameters of guides are told elsewhere
        elif drawn.rows:
            found.summed = run, module
        else:
            found.sum_up()
        if found.summed is not None and not drawn.rows:
            say(f"{listed(drawn.names)}: sampled in the fit, summed here")
        return found

    def sum_up(self) -> None:
        """Take sums in the place of draws, where all of them are within the budget of a spec."""
        other = Summed.of(self.run)
        try:
            module = other.load(self.how.place, self.how.memory)
        except SpecError as error:
            self.why = error.diagnostics[0].message
            return
        if getattr(module, "exact", False):
            self.summed = other, module
        else:
            self.why = "not all of it can be summed"

    @property
    def samples(self) -> int:
        return self.how.samples or SAMPLES

    def words(self, query: str, where: str, why: str) -> str:
        """What is said of weighted draws."""
        guided = {guide.name for guide in plan_of(self.run.model).model.guide}
        origin = dict.fromkeys("guides" if name in guided else "laws of their own" for name in self.drawn.names)
        best = "; the mode is the draw of greatest joint density" if query == "mode" else ""
        drawn = f"{self.samples} weighted draws from {' and '.join(origin)}"
        return (
            f"{listed(self.drawn.names)}: by {drawn}{where}, not exactly{f' ({why})' if why else ''}{best}; effective samples: "
            "how many draws of its posterior a row's are worth"
        )

    @cached_property
    def weighing(self) -> nn.Module:
        """The module that draws."""
        return Weighed.of(self.run).load(self.how.place)

    def told(self, data: Dataset, exactly: Answer, query: str, of: str | None = None) -> Iterator[Told]:
        """Each row, in order."""
        if self.summed is None:
            self.answerable(query, "")
            self.say(self.words(query, "", self.why))
        for indices in data.order(self.how.size(self.run)):
            found = dict[int, Told]()
            beyond, why = self.exact_rows(indices, exactly, query, found)
            if beyond:
                self.answerable(query, why)
                if self.summed is not None and not self.count:
                    self.say(self.words(query, " where sums take too much", why))
                self.count += len(beyond)
                found |= zip(beyond, self.weighed(data, beyond, query, of), strict=True)
            yield from (found[i] for i in indices)
        if self.summed is not None and self.count:
            self.say(f"{self.count} of {len(data)} rows by weighted draws: those with effective samples; the others are exact")

    def answerable(self, query: str, why: str) -> None:
        """RunError where draws have no honest answer to a query."""
        if query not in QUERIES:
            raise RunError(
                f"`{query}` is asked of exact posteriors, and that of {listed(self.drawn.names)} is told by weighted draws: "
                f"{why or self.why}; draws answer {', '.join(QUERIES)}"
            )

    def exact_rows(self, indices: Indices, exactly: Answer, query: str, found: dict[int, Told]) -> tuple[list[int], str]:
        """Put what can be summed among the found; the rows that cannot, and why."""
        if self.summed is None:
            return list(indices), ""
        run, module = self.summed
        try:
            with evaluating(module, self.how.seed, self.how.place):
                found |= zip(indices, exactly(run, module, indices), strict=True)
            return [], ""
        except ValueError as error:
            if query not in QUERIES:
                raise RunError(
                    f"{error}; where it is the sums that take too much, draws answer {', '.join(QUERIES)}"
                ) from error
            if len(indices) == 1:
                return list(indices), str(error)
        middle = len(indices) // 2
        (first, why), (second, more) = (
            self.exact_rows(part, exactly, query, found) for part in (indices[:middle], indices[middle:])
        )
        return first + second, why or more

    def weighed(self, data: Dataset, indices: Indices, query: str, of: str | None) -> Iterator[Told]:
        """Some rows by weighted draws."""
        run, module = self.run, self.weighing
        with evaluating(module, self.how.seed, self.how.place):
            batch = to_device(data.batch(indices), self.how.place)
            if query == "marginals":
                found, effective = averaged(module, batch, len(indices), self.samples)
            else:
                found, effective = chosen(module, batch, len(indices), self.samples, query)
        rows = Rows(run.model, run.encoders, batch)
        wanted: Any = {
            name: value for name, value in found.items() if name == of or (of is None and name in run.model.variable)
        }
        if of is not None:
            answers = self.means(batch, rows, wanted, of)
        else:
            answers = rows.distributions(wanted) if query == "marginals" else rows.values(wanted)
        each = zip(answers, effective.tolist(), strict=True)  # of worth 0 where no draw is possible
        worths = [(row if worth else dict.fromkeys(row)) | {EFFECTIVE: round(worth, 1)} for row, worth in each]
        yield from beside(rows, batch, worths)

    def means(self, batch: dict[str, Any], rows: Rows, found: dict[str, Any], of: str) -> list[dict[str, Any]]:
        """A derived quantity of each row, as sums tell it: its mean, or the probabilities of its values. One that reads what is
        summed beside the draws is told by the module of the fit, over as many draws."""
        if of not in found:
            asked: Any = self.run.load(self.how.place, self.how.memory)
            with evaluating(asked, self.how.seed, self.how.place):
                found = asked.posterior(batch, of=of, samples=self.samples)
        told = found[of]["mean"] if isinstance(found[of], dict) else found[of]
        finite = self.run.model.let[of].type.domain in FINITE_DOMAINS
        return rows.distributions({of: told}) if finite else rows.numbers({of: told})
