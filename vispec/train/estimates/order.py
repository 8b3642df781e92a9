"""A fixed order of the elements that a model cannot tell apart, such as the classes of a mixture, whatever start a fit had."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vispec.model.model import Expression, Model, Position, Select
from vispec.model.walk import law_parts, walk
from vispec.train.errors import RunError
from vispec.train.estimates.uncertainty.standard import along
from vispec.train.estimates.values import Estimate, Estimates, Term, title


@dataclass(frozen=True)
class Exchange:
    """Plates whose elements change places together, and the latents whose values are these elements."""

    plates: frozenset[str]
    latents: frozenset[str]


def exchange(model: Model, plate: str) -> Exchange:
    """All that moves with the elements of a plate: the latents that point at them, and what else these point at."""
    plates, latents = {plate}, set[str]()
    while True:
        before = len(plates) + len(latents)
        latents |= {v.name for v in model.variables if v.role == "latent" and v.type.plate in plates}
        shared = set[str]().union(*(drawn_by(model, name) for name in latents))
        latents |= {v.name for v in model.variables if v.role == "latent" and drawn_by(model, v.name) & shared}
        for at, names in selected(model):
            if at in plates:
                latents |= names
            elif names & latents:
                plates.add(at)
        if len(plates) + len(latents) == before:
            return Exchange(frozenset(plates), frozenset(latents))


def selected(model: Model) -> Iterator[tuple[str, set[str]]]:
    """(plate, the finite latents that an element of it is chosen by) for each such choice in the model."""
    latents = {v.name for v in model.variables if v.role == "latent" and v.type.domain in ("index", "category")}
    for expression in expressions(model):
        if isinstance(expression, Select):
            for plate, by in expression.by:
                yield plate, latents & {str(getattr(inner, "name", "")) for inner in walk(by)}


def expressions(model: Model) -> Iterator[Expression]:
    """Everything that is read in the model."""
    parts = [part for v in model.variables if v.law is not None for part in law_parts(v.law)]
    for part in (*parts, *(let.value for let in model.lets)):
        yield from walk(part)


def axes_of(model: Model, name: str, moved: Exchange) -> list[int]:
    """The axes of a parameter, latent or deterministic node along which the elements stand: their plates, and the values of a
    simplex that one of the latents is drawn from."""
    node = next(each for each in (*model.params, *model.variables, *model.lets) if each.name == name)
    found = [i for i, plate in enumerate(node.plates) if plate in moved.plates]
    if any(name in drawn_by(model, latent) for latent in moved.latents):
        found.append(len(node.plates))
    return found


def drawn_by(model: Model, name: str) -> set[str]:
    """The nodes that give probabilities of all values of a finite latent."""
    variable = model.variable[name]
    if variable.law is None or variable.type.domain not in ("index", "category"):
        return set()
    return {str(getattr(part, "name", "")) for part in law_parts(variable.law) if part.type.domain == "simplex"} - {""}


def order_by(estimates: Estimates, model: Model, name: str) -> Estimates:
    """The elements of the plate that `name` stands in by its numbers there, ascending; all that they index follows."""
    entries = {entry.index: entry.estimate for entry in estimates.parameters if entry.name == name}
    known = sorted({entry.name for entry in estimates.parameters if entry.labels})
    if not entries or () in entries:
        raise RunError(f"--order {name}: there is no such parameter in a plate; there are {', '.join(known) or 'none'}")
    moved = next(find(model, name), None)
    axis = None if moved is None else next(iter(axes_of(model, name, moved)), None)
    if moved is None or axis is None:
        raise RunError(f"--order {name}: no latent points at its elements, so their order is that of the data")
    if any(entry.name == name and isinstance(entry.labels[axis], str) for entry in estimates.parameters):
        raise RunError(f"--order {name}: its elements are called by labels of the data and stay in their order")
    size = 1 + max(index[axis] for index in entries)
    keys = {i: [value for index, value in sorted(entries.items()) if index[axis] == i] for i in range(size)}
    order = sorted(range(size), key=lambda i: keys[i])
    place = {old: new for new, old in enumerate(order)}
    axes = {each: axes_of(model, each, moved) for each in {entry.name for entry in estimates.parameters}}
    return estimates.model_copy(update={"parameters": rearranged(estimates.parameters, axes, place)})


def find(model: Model, name: str) -> Iterator[Exchange]:
    """What can change places along a parameter's axes, if anything."""
    node = next(each for each in (*model.params, *model.variables, *model.lets) if each.name == name)
    plates = [*node.plates, *(plate.name for plate in model.plates)]
    for plate in dict.fromkeys(plates):
        moved = exchange(model, plate)
        if moved.latents and axes_of(model, name, moved):
            if any(isinstance(each, Position) and each.plate in moved.plates for each in expressions(model)):
                raise RunError(f"--order {name}: the model tells the elements of `{plate}` apart by their positions")
            yield moved


def rearranged(
    entries: Sequence[Estimate], axes: Mapping[str, Sequence[int]], place: Mapping[int, int]
) -> tuple[Estimate, ...]:
    """The entries with their indices renamed, each node's in the order of the new ones."""
    labels = {
        (entry.name, axis, entry.index[axis]): entry.labels[axis] for entry in entries for axis in range(len(entry.index))
    }

    def new_index(name: str, index: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(place[i] if axis in axes[name] else i for axis, i in enumerate(index))

    def new_labels(name: str, index: tuple[int, ...]) -> tuple[str | int, ...]:
        return tuple(labels[name, axis, i] for axis, i in enumerate(index))

    def renamed(entry: Estimate) -> Estimate:
        index = new_index(entry.name, entry.index)
        terms = tuple(
            Term(name=t.name, index=(at := new_index(t.name, t.index)), labels=new_labels(t.name, at), weight=t.weight)
            for t in entry.along
        )
        note = along(terms, [title(t.name, t.labels) for t in terms]) if terms else entry.note
        return entry.model_copy(update={"index": index, "labels": new_labels(entry.name, index), "along": terms, "note": note})

    names = list(dict.fromkeys(entry.name for entry in entries))
    return tuple(sorted(map(renamed, entries), key=lambda entry: (names.index(entry.name), entry.index)))
