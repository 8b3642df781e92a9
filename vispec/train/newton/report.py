"""What a second-order fit says: on its way, and at its end."""

from vispec.train.newton.search import Climb, Search
from vispec.train.setup.job import Ending

TOLD = 1e-9  # nats: the least distance that is told, as a sum over rows is rounded too


def progress(climb: Climb, number: int, count: int) -> str:
    """One line about the climb that has just done a round."""
    left = f", about {climb.state.decrement:.2g} to go" if climb.state.decrement < float("inf") else ""
    start = f"start {number + 1}/{count}  " if count > 1 else ""
    return f"{start}step {climb.rounds}  log-probability {-climb.state.value:.6g}{left}"


def ending(search: Search, chosen: Climb, scouts: Search | None = None) -> Ending:
    """How the fit ended. scouts: a search over some of the rows that gave the starts."""
    maxima = search.maxima()
    arrived = chosen.arrived
    failed = failures(search)
    sentences = [outcome(chosen)]
    if scouts is not None:
        sentences.append(
            f"{scouts.count} starts on {scouts.objective.count:,} rows{told(scouts)}; of these on all rows{told(search)}"
        )
    elif search.count > 1 and maxima:
        sentences.append(f"{search.count} starts{told(search)}")
    notes = tuple(f"a start at {value:.2f} is no proper maximum: {why}" for value, why in search.spurious())
    if chosen.notes:
        notes = (f"no proper maximum was found: {'; '.join(chosen.notes)}",)
    if failed:
        notes += (f"{failed} of {search.count} starts had no finite objective",)
    text = "; ".join(sentences)
    decrement = chosen.state.decrement
    return Ending(arrived and not chosen.notes, decrement if decrement < float("inf") else None, tuple(maxima), notes, text)


def failures(search: Search) -> int:
    """How many starts had no finite objective."""
    return sum(climb.ended == "infinite" for climb in search.climbs)


def told(search: Search) -> str:
    """Where the starts came to."""
    maxima = search.maxima()
    left = search.count - sum(count for _, count in maxima) - len(search.spurious()) - failures(search)
    given_up = [f"{left} given up on the way"] if left else []
    return ": " + ", ".join([*([listed(maxima)] if maxima else []), *given_up])


def outcome(climb: Climb) -> str:
    """Whether it arrived, in words."""
    state = climb.state
    if climb.notes:
        return "not converged: the likelihood has no bound here"
    if climb.arrived:
        return f"converged: at most {max(state.decrement, TOLD):.0e} nats below a local maximum"
    if climb.ended == "stuck":
        return "ended where no step rises further, and the objective is not smooth: no decrement says how far the maximum is"
    if state.saddle:
        return "not converged: stopped at a saddle; more --epochs go on"
    left = f"about {state.decrement:.2g} nats to go" if state.decrement < float("inf") else "still rising"
    return f"not converged: {left} after {climb.rounds} steps; more --epochs go on"


def listed(maxima: list[tuple[float, int]]) -> str:
    """`7 reached -203.1792, 2 -212.08, 1 -219.80`: the best with more digits."""
    (best, count), *rest = maxima
    return ", ".join([f"{count} reached {best:z.4f}", *(f"{times} {value:z.2f}" for value, times in rest[:8])]) + (
        ", and others" if len(rest) > 8 else ""
    )
