"""How each drawn latent's gradient is formed, how samples combine into one bound, and in which order draws are made."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from vispec.estimators import estimators
from vispec.estimators.entry import EstimatorKind, Way
from vispec.model.model import Estimator, Expression, Law, Model, Past, Select, Then, Variable
from vispec.model.walk import is_read, law_parts, walk
from vispec.plan.treatment import Combine, Treatment


def kind_of(estimator: Estimator) -> EstimatorKind:
    """The entry of an estimator."""
    return estimators()[estimator.name]


def way_of(variable: Variable, estimator: Estimator) -> Way:
    """How a draw of the variable passes a gradient."""
    way = kind_of(estimator).way
    assert way is not None, f"{estimator.name} draws nothing"
    return way(dict(estimator.settings), variable.type.discrete)


def gradient_of(variable: Variable, estimator: Estimator) -> str:
    """The name of that way; a discrete draw carries none unless relaxed."""
    return way_of(variable, estimator).name


def samples_of(estimator: Estimator) -> int:
    """How many draws of a latent its estimator makes."""
    return kind_of(estimator).samples(dict(estimator.settings))


def wanted_bound(estimator: Estimator) -> Combine | None:
    """The bound that an estimator is for: elbo averages log-weights, iwae and mc take the log of the average; None: either."""
    return kind_of(estimator).bound(dict(estimator.settings))


def estimation(model: Model, treatments: Mapping[str, Treatment], shared: Iterable[str]) -> tuple[int, Combine]:
    """Number of samples, and how their log-weights combine. Latents that all rows share are drawn once where a row's weights
    are averaged before the logarithm: rows would be coupled through them otherwise."""
    drawn = [t for t in treatments.values() if t.kind == "draw" and t.estimator and t.gradient != "point"]
    if not drawn:
        guided = any(t.kind == "sum" and not t.exact for t in treatments.values())
        return 1, "elbo" if guided or any(net.random for net in model.nets) else "exact"
    own = [t.estimator for t in drawn if t.variable not in set(shared) and t.estimator]
    bounds = {bound for estimator in own if (bound := wanted_bound(estimator)) is not None}
    combine: Combine = "iwae" if "iwae" in bounds else "mc" if bounds == {"mc"} else "elbo"
    counted = [t.estimator for t in drawn if t.estimator] if combine == "elbo" else own
    weighed = [estimator for estimator in counted if kind_of(estimator).weighed]
    return max(samples_of(estimator) for estimator in weighed or counted), combine


def draw_order(model: Model, names: Iterable[str]) -> tuple[str, ...]:
    """Drawn variables in an order in which each comes after those that its guide, or else its own law, reads."""
    left, order = [name for name in model.order if name in set(names)], list[str]()
    groups = {name: set(drawn_together(name, left, model)) for name in left}
    while left:

        def waits(name: str, left: list[str]) -> frozenset[str]:
            law = source_of(name, model)
            before = law_reads(law, model) - groups[name] | law_reads(law, model, now=True)
            return before & set(left) - {name}

        ready = next((n for n in left if not waits(n, left)), left[0])
        left.remove(ready)
        order.append(ready)
    return tuple(order)


def source_of(name: str, model: Model) -> Law | None:
    """The law that a variable is drawn from; none where it is data, or drawn together with others from their joint guide."""
    if (model.joint is not None and name in model.joint.names) or is_data(name, model):
        return None
    return next((guide.law for guide in model.guide if guide.name == name), model.variable[name].law)


def is_data(name: str, model: Model) -> bool:
    """Whether all there is of a variable is what the data has: a partial one that no law reads is never drawn."""
    role = model.variable[name].role
    return role in ("given", "observed") or (role == "partial" and not is_read(model, name))


def drawn_together(name: str, drawn: Iterable[str], model: Model) -> tuple[str, ...]:
    """Drawn variables that need each other's past elements, so that one loop along their chain draws them all, in the order
    in which one of its steps does; one alone where its law is told apart by position. None where a variable is drawn for all
    elements at once."""
    by_position = isinstance(source_of(name, model), Then)
    drawn = tuple(drawn)
    behind = {each: drawn_from(law_reads(source_of(each, model), model), model, drawn) for each in {*drawn, name}}
    found = [o for o in drawn if (name in behind[o] and o in behind[name]) or (by_position and o == name)]
    return tuple(found)


def read_through_head(names: Collection[str], model: Model) -> Select | None:
    """Where a law that one of some variables is drawn from reads an element of theirs that a head points at, if one does."""
    for part in (part for name in names for part in parts_read(source_of(name, model), model)):
        if isinstance(part, Select) and part.name in names and any(at.type.domain == "tree" for _, at in part.by):
            return part
    return None


def law_reads(law: Law | None, model: Model, now: bool = False) -> frozenset[str]:
    """Variables that a law reads, through lets; `now`: at its own element of a chain, not in the past."""
    return frozenset({getattr(part, "name", "") for part in parts_read(law, model, now)} & {*model.variable})


def parts_read(law: Law | None, model: Model, now: bool = False) -> Iterator[Expression]:
    """All expressions in a law, and in the lets that these name; `now`: but those of the past."""
    lets = {let.name: let.value for let in (*model.lets, *model.guide_lets)}
    found, pending = set[str](), list(law_parts(law)) if law is not None else []
    while pending:
        for part in (part for part in walk(pending.pop()) if not (now and isinstance(part, Past))):
            yield part
            name = getattr(part, "name", None)
            if name in lets and name not in found:
                found.add(name)
                pending.append(lets[name])


def drawn_from(names: frozenset[str], model: Model, through: Iterable[str] | None = None) -> frozenset[str]:
    """The variables, and all that their draws depend on; where it is said, through the draws of these alone."""
    found, pending = set[str](), list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += law_reads(source_of(name, model), model) if through is None or name in through else ()
    return frozenset(found)


def closed_kl_is_right(name: str, treatments: Mapping[str, Treatment], model: Model) -> bool:
    """Whether KL(q(z) ‖ p(z)) may stand for its estimate at the draw: what p(z | ...) reads must not itself be drawn from z,
    and the term must enter the bound linearly, so not inside a sum over a latent that is summed out exactly."""
    read = law_reads(model.variable[name].law, model) | law_reads(source_of(name, model), model)
    if name in drawn_from(law_reads(model.variable[name].law, model) - {name}, model):
        return False
    return not any(treatments[other].kind == "sum" and treatments[other].exact for other in read if other in treatments)
