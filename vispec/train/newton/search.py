"""Several starts of a second-order search: short climbs first, then the best to its end, the others as far as they may catch
up.

What comes next depends on the climbs alone, so a search that is stopped goes on from a checkpoint as if it never had been.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vispec.train.newton import krylov, quasi, trust
from vispec.train.newton.curvature import Function, hessian, scale_of
from vispec.train.newton.objective import Objective
from vispec.train.newton.reach import in_units
from vispec.train.newton.state import State, begin

TOLERANCE = 1e-9  # nats below the local maximum at which a climb ends
ENOUGH = 1e-6  # nats below it that count as having arrived where rounding allows no more
SAME = 1e-3  # nats between two values of one maximum
STARTS = 10  # of a search whose first start is a saddle, and wherever latents are summed
BEHIND = 1.0  # nats below the best maximum at which a climb that has slowed down is given up
NEAR = 0.05  # nats to a maximum from where its value is told
NEWTON, KRYLOV = 30, 300  # parameters above which a climb begins with quasi-Newton steps, and has no Hessian
SHORT = {"newton": 8, "quasi": 60, "krylov": 3}  # rounds of a short climb
LONG = {"newton": 200, "quasi": 1000, "krylov": 30}  # rounds of a method at most
GAIN = 1e-7  # nats that quasi-Newton steps must gain where Newton's are stuck for these to go on
SOON = 10.0  # times what the last quasi-Newton rounds gained: a climb further behind is given up
SLOW = {"quasi": 1e-3, "kink": 1e-9}  # nats in ten rounds below which quasi-Newton steps give way to others, or are done


@dataclass(frozen=True)
class Climb:
    """One start. method: newton, quasi or krylov; `kink` is quasi after Newton found no way on. before: rounds by earlier
    methods. mark: the value where Newton found no way on. forked: whether it began on a ridge, with a way down to both sides.
    ended: why it did, empty while it goes on. notes: what makes its maximum improper."""

    state: State
    method: str
    before: int = 0
    mark: float | None = None
    forked: bool = False
    ended: str = ""
    notes: tuple[str, ...] = ()

    @property
    def rounds(self) -> int:
        return self.before + self.state.rounds

    @property
    def arrived(self) -> bool:
        return self.state.converged(ENOUGH)

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        plain = {"method": self.method, "before": self.before, "mark": self.mark, "ended": self.ended}
        plain |= {"forked": self.forked, "notes": list(self.notes)}
        return plain | {"state": self.state.as_dict()}

    @classmethod
    def of_dict(cls, stored: dict[str, Any], device: torch.device) -> "Climb":
        """The inverse of `as_dict`, with its tensors on a device."""
        return cls(**{**stored, "state": State.of_dict(stored["state"], device), "notes": tuple(stored["notes"])})


@dataclass
class Search:
    """start: the point (d,) of each start by its number. asked: how many; None for one, and several if it is a saddle. thin,
    judge: what makes the maximum at a point improper, as far as it can be told on the way, and at its end. rounds: at most so
    many for each start; None for as many as are usual."""

    objective: Objective
    start: Callable[[int], Tensor]
    asked: int | None
    thin: Callable[[Tensor], tuple[str, ...]]
    judge: Callable[[Tensor], tuple[str, ...]]
    rounds: int | None = None
    climbs: list[Climb] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many starts there are: a first one on a saddle leaves open to which side the maximum lies."""
        return self.asked or (STARTS if self.climbs and self.climbs[0].forked else 1)

    def advance(self) -> int | None:
        """One round of the climb whose turn it is; its number, None at the end of all."""
        at = self.turn()
        if at is None:
            return None
        if at == len(self.climbs):
            self.climbs.append(self.begun(at))
        else:
            self.climbs[at] = self.ahead(self.climbs[at])
        return at

    def turn(self) -> int | None:
        """Short climbs in their order, then the lowest value first."""
        for at, climb in enumerate(self.climbs):
            if not climb.ended and not self.spent(climb) and climb.rounds < SHORT[family(climb.method)]:
                return at
        if len(self.climbs) < self.count:
            return len(self.climbs)
        left = [at for at, climb in enumerate(self.climbs) if not climb.ended and not self.spent(climb)]
        return min(left, key=lambda at: (self.climbs[at].state.value, at), default=None)

    def spent(self, climb: Climb) -> bool:
        """Whether a climb has had all its rounds."""
        return climb.rounds >= (self.rounds or LONG["newton"] + LONG["quasi"])

    def begun(self, at: int) -> Climb:
        """A climb at its start, where the objective should be finite."""
        across = at == 1 and self.climbs[0].forked  # the first start once more, and to the other side
        state = replace(begin(self.objective, self.start(0 if across else at)), side=-1 if across else 1)
        method = "newton" if len(state.x) <= NEWTON else "quasi"
        if not state.value < float("inf"):
            return Climb(state, method, ended="infinite")
        return Climb(state if method == "newton" else scaled(self.objective, state), method)

    def ahead(self, climb: Climb) -> Climb:
        """One round, and what it means for the climb."""
        f, state = self.objective, climb.state
        if climb.method == "newton":
            state = trust.advance(f, state, TOLERANCE)
        elif climb.method == "krylov":
            state = krylov.advance(f, state, TOLERANCE)
        else:
            state = quasi.advance(f, state)
        climb = replace(climb, state=state, forked=climb.forked or (climb.rounds == 0 and state.ridge))
        if climb.rounds % 10 == 0 and (notes := self.thin(state.x)):
            return replace(climb, ended="unbounded", notes=notes)
        after = self.after_gradients(climb) if family(climb.method) == "quasi" else self.after_curvature(climb)
        return self.judged(replace(after, ended="long")) if self.spent(after) and not after.ended else after

    def after_gradients(self, climb: Climb) -> Climb:
        """The climb after a quasi-Newton step: as it was, or with the method that finishes it, unless it is behind."""
        best, gains = self.leader, climb.state.gains
        soon = BEHIND + SOON * sum(gains)
        if climb.method == "quasi" and climb.rounds > SHORT["quasi"] and best and climb.state.value - best.state.value > soon:
            return replace(climb, ended="behind")
        if not (over(climb) or quasi.slow(climb.state, SLOW[climb.method])):
            return climb
        return replace(climb, state=climb.state.fresh(), method=finisher(climb), before=climb.rounds)

    def after_curvature(self, climb: Climb) -> Climb:
        """The climb after a step that knows the curvature: ended where it has arrived, cannot go on or need not."""
        state, best = climb.state, self.leader
        if state.converged(TOLERANCE) or (over(climb) and climb.arrived):
            return self.judged(replace(climb, ended="maximum"))
        if over(climb):
            if climb.method == "krylov" or (climb.mark is not None and climb.mark - state.value < GAIN):
                return self.judged(replace(climb, ended="stuck" if state.stuck else "long"))
            state = replace(state.fresh(), scale=coarse(self.objective, state))
            return replace(climb, state=state, method="kink", before=climb.rounds, mark=state.value)
        if best is None or climb.rounds < SHORT["newton"] or state.saddle:
            return climb
        behind = state.value - best.state.value
        if behind > BEHIND / 2 + 4 * state.decrement:
            return replace(climb, ended="behind")
        return replace(climb, ended="same") if abs(behind) < SAME and state.decrement < SAME / 10 else climb

    def judged(self, climb: Climb) -> Climb:
        """A climb at its end, with what is improper about it."""
        return replace(climb, notes=self.judge(climb.state.x))

    @property
    def best(self) -> Climb | None:
        """The best of the climbs that came to an end of their own, a proper one, if there is any; of equal ones the first, lest
        rounding decide the order of classes."""
        ended = [climb for climb in self.climbs if climb.ended in ("maximum", "stuck", "long", "unbounded")]
        among = [climb for climb in ended if not climb.notes] or ended
        least = min((climb.state.value for climb in among), default=0.0)
        return next((climb for climb in among if climb.state.value <= least + ENOUGH), None)

    @property
    def leader(self) -> Climb | None:
        """The best proper maximum so far, which others must catch up with."""
        best = self.best
        return None if best is None or best.notes else best

    @property
    def front(self) -> Climb | None:
        """The best climb, or while none has ended the one that is furthest."""
        finite = (climb for climb in self.climbs if climb.ended != "infinite" and not climb.notes)
        return self.best or min(finite, key=lambda climb: climb.state.value, default=None)

    def summits(self) -> list[Tensor]:
        """The points (d,) of the different proper maxima, best first."""
        found: list[Climb] = []
        for climb in sorted(self.climbs, key=lambda climb: climb.state.value):
            other = not found or climb.state.value - found[-1].state.value > SAME
            if other and climb.ended in ("maximum", "stuck", "long") and not climb.notes:
                found.append(climb)
        return [climb.state.x for climb in found]

    def maxima(self) -> list[tuple[float, int]]:
        """The log-probabilities of the proper maxima reached, best first, each with how many climbs came there."""
        return grouped([climb for climb in self.climbs if not climb.notes and climb.state.decrement < NEAR])

    def spurious(self) -> list[tuple[float, str]]:
        """The log-probabilities of improper maxima, each with what is wrong with it."""
        return [(-climb.state.value, climb.notes[0]) for climb in self.climbs if climb.notes]


def family(method: str) -> str:
    return "quasi" if method == "kink" else method


def finisher(climb: Climb) -> str:
    """The method that takes a climb to its end."""
    return "newton" if len(climb.state.x) <= KRYLOV else "krylov"


def over(climb: Climb) -> bool:
    """Whether its method takes a climb no further."""
    return climb.state.stuck or climb.state.rounds >= LONG[family(climb.method)]


def grouped(climbs: Sequence[Climb]) -> list[tuple[float, int]]:
    """Values with their counts, those together that differ by no more than what the climbs were still short of."""
    found: list[tuple[float, int]] = []
    for climb in sorted(climbs, key=lambda climb: climb.state.value):
        value = -climb.state.value
        if found and found[-1][0] - value < SAME + 2 * climb.state.decrement:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((value, 1))
    return found


def scaled(f: Function, state: State) -> State:
    """The state with the scale measured."""
    state = in_units(f, state)
    h = hessian(f, state.x, state.scale)
    return replace(state, scale=scale_of(h.nan_to_num(), state.gradient, state.value, state.unit), scaled=True)


def coarse(f: Function, state: State) -> Tensor:
    """A scale (d,) for where there is no curvature: over 1 / scale to either side, the value changes by about a nat."""
    found = state.scale.clone()
    for i in range(len(found)):
        for _ in range(40):
            up, down = state.x.clone(), state.x.clone()
            up[i] += 1 / found[i]
            down[i] -= 1 / found[i]
            change = max(f(up)[0], f(down)[0]) - state.value
            if 0.1 < change < 10:
                break
            found[i] *= 3 if change >= 10 else 1 / 3
    return found
