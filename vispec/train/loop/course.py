"""The course of a restart by noisy steps: when it is over, how its rate falls before, and what is said of its end.

All of it follows from the counters, so that a fit that is resumed takes the same course.
"""

from vispec.train.loop.plateau import Series, ending, has_settled, is_look, trend
from vispec.train.setup.settings import Settings
from vispec.train.store.checkpoint import Counters

COOL = 4  # a fit that ends by itself goes on for a fourth of its epochs while its rate falls to 0


def is_over(c: Counters, s: Settings, has_valid: bool) -> bool:
    """At the last epoch, or where nobody has said how many, when the objective has settled and the rate fallen to 0."""
    if c.epoch >= (s.epochs or 0) or (s.patience is not None and c.stale >= s.patience):
        return True
    if c.cooling is not None:
        return c.epoch >= c.cooling + cooling_epochs(c.cooling, s)
    past_its_best = has_valid and 2 * c.stale >= c.epoch  # the validation data were served best in the first half
    return s.least is not None and is_look(c.epoch, s.least) and past_its_best


def cooling_epochs(since: int, s: Settings) -> int:
    """Over how many epochs the rate falls in the end, until draws and minibatches move nothing any more."""
    return max(1, min(since // COOL, (s.epochs or 0) - since))


def look(c: Counters, s: Settings) -> None:
    """Let the rate fall once the objective has settled, or so that it has fallen at the last epoch."""
    if s.least is None or c.cooling is not None:
        return
    last = c.epoch >= (s.epochs or 0) * COOL // (COOL + 1)
    if last or (is_look(c.epoch, s.least) and has_settled(c.series)):
        c.cooling = c.epoch


def share_of_rate(c: Counters, s: Settings, steps_per_epoch: int) -> float:
    """What is left of the rate at the present step."""
    if c.cooling is None:
        return 1.0
    done = c.epoch - c.cooling + c.position / steps_per_epoch
    return max(0.0, 1 - done / cooling_epochs(c.cooling, s))


def add_to_series(c: Counters, s: Settings, objective: float, steps_per_epoch: int) -> None:
    """One more epoch, of `objective` nats a row. While weights of the objective move, each epoch has another one, and the
    series starts again. What the falling rate brings in the end tells nothing of how far the maximum is."""
    if c.cooling is not None:
        return
    total = steps_per_epoch * (s.epochs or 0)
    first, last = (s.phase(step, total) for step in (c.step - steps_per_epoch, c.step - 1))
    if any(weight.value(first, steps_per_epoch) != weight.value(last, steps_per_epoch) for weight in s.anneal):
        c.series = Series()
    else:
        c.series.add(objective)


def remember_end(c: Counters, s: Settings, has_valid: bool) -> None:
    """What is to be said of the end of this restart, if its parameters are the best so far."""
    if c.best_restart != c.restart:
        return
    if not s.epochs:
        c.converged, c.ending = True, "nothing to fit"
        return
    found = trend(c.series)
    c.converged = found is not None and found.course == "flat"
    c.ending = f"{ending(c.series)}, after {c.epoch} epoch{'s' * (c.epoch > 1)}"
    if has_valid:
        c.ending += f"; the validation data were served best after {c.best_epoch + 1}"
    elif not c.converged and c.epoch >= (s.epochs or 0) and (s.restarts or 1) == 1 and s.decay == "none":
        c.ending += "; more --epochs go on"
