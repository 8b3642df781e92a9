"""Which of the noise that a module drew is whose: by shape, and where several look alike every way in turn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import torch
from torch import Tensor

from vispec.model import model as m
from vispec.model.model import Variable
from vispec.verify.data import extent_of
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.reads import names_in
from vispec.verify.oracle.row import shape_of, without_data
from vispec.verify.trial import Trial

MOST = 240


@dataclass(frozen=True)
class Noise:
    """values: (samples, B, *plates, *branch, *event). branch: the finite unknown with a guide has an axis of its own, this many
    dimensions before the last; None where there is none, and all its values share the noise."""

    values: Tensor
    branch: int | None

    def at(self, value: int) -> Tensor:
        """The noise where the finite unknown has this value."""
        return self.values if self.branch is None else self.values.select(-1 - self.branch, value)


@dataclass(frozen=True)
class Guided:
    """The guided unknowns of a model: continuous latents with Normal guides, each after those that its guide reads, and at most
    one finite unknown, one per row."""

    latents: tuple[tuple[Variable, m.Law], ...]
    finite: tuple[Variable, m.Law] | None


def matchings(trial: Trial, guided: Guided, noise: Sequence[Tensor]) -> Iterator[dict[str, Noise]]:
    """Every way in which the draws can be those of the latents, all with as many samples; MOST at most, in order first."""
    branches = [(), (trial.rows[0].card(guided.finite[0].type, {}),)] if guided.finite else [()]
    ways = _ways(trial, guided.latents, branches, list(noise))
    return islice((way for way in ways if len({len(own.values) for own in way.values()}) == 1), MOST)


def _ways(
    trial: Trial, latents: Sequence[tuple[Variable, m.Law]], branches: Sequence[tuple[int, ...]], left: list[Tensor]
) -> Iterator[dict[str, Noise]]:
    if not latents:
        yield {}
        return
    (variable, law), *rest = latents
    for own, taken in _candidates(trial, variable, law, branches, left):
        others = [n for n in left if not any(n is one for one in taken)]
        for more in _ways(trial, rest, branches, others):
            yield {variable.name: own} | more


def _candidates(
    trial: Trial, variable: Variable, law: m.Law, branches: Sequence[tuple[int, ...]], left: list[Tensor]
) -> Iterator[tuple[Noise, tuple[Tensor, ...]]]:
    """What can be the noise of a latent, and the draws that it is made of; along a chain there may be one for each element."""
    plates = len(without_data(trial.built.model, variable.plates))
    event = shape_of(variable.type, trial.built.sizes)
    if isinstance(law, m.Then) or variable.name in names_in(law, {}):
        for whole, steps in _joined(trial, variable, plates, event, left):
            yield _noise(whole, 1 + plates, (), event), steps
        return
    for branch in branches:
        for n in left:
            if _fits(n, trial.count, plates, (*branch, *event)):
                yield _noise(n, 1 + plates, branch, event), (n,)


def _noise(values: Tensor, lead: int, branch: tuple[int, ...], event: tuple[int, ...]) -> Noise:
    rank = lead + len(branch) + len(event)
    return Noise(values if values.ndim > rank else values.unsqueeze(0), len(event) if branch else None)


def _joined(
    trial: Trial, variable: Variable, plates: int, event: tuple[int, ...], left: list[Tensor]
) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """The noise of a latent's elements along its chain, in their order, made one."""
    model, own = trial.built.model, without_data(trial.built.model, variable.plates)
    chain = next((plate for plate in reversed(own) if model.plate[plate].kind == "chain"), None)
    if chain is None:
        raise NotCheckedError(f"the draws of `{variable.name}`, which has no chain")
    fitting = [n for n in left if _fits(n, trial.count, plates - 1, event)]
    for steps in combinations(fitting, extent_of(model, trial.built.sizes, model.plate[chain], trial.batch)):
        if len({step.ndim for step in steps}) == 1:
            lead = steps[0].ndim - len(event) - (plates - 1)  # samples, if they have an axis, and rows
            yield torch.stack(steps, lead + own.index(chain)), steps


def _fits(noise: Tensor, rows: int, plates: int, tail: tuple[int, ...]) -> bool:
    lead = noise.ndim - len(tail)
    return lead in (1 + plates, 2 + plates) and noise.shape[lead:] == tail and noise.shape[lead - plates - 1] == rows
