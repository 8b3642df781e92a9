"""Which plate or entry of `v[a, b]` each index fills.

An `index[p]` fills plate p wherever it stands, and so does the plate's own name. A category, token or bit fills the plate or
the entry whose size has its name, a number any. Plates that are not open must all be filled; one that is open and that nothing
fills is read at its own element. Sizes are compared as they are written, never by their values, so that `--set` changes no
meaning. A place is a plate's name, or the number of an entry.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.problems import listed
from vispec.model.types import Dim
from vispec.source import Span

Place = str | int
Filling = tuple[Place, ...]
"""The place of each index, in the order in which they are written."""
Fits = Callable[["Item", Place], bool]
MOST_SWAPPED = 5  # indices whose orders are all tried, for a suggestion


@dataclass(frozen=True)
class Item:
    """An index as written, and its value. plate: the one that it is of, if it is an `index[p]`, a plate's own name or a step
    back, which alone has no value."""

    span: Span
    text: str
    value: m.Expression | None
    plate: str | None


@dataclass(frozen=True)
class Places:
    """Where indices may go. plates: those of the name but for the data plate, outermost first; entries: the sizes of its event;
    must: the plates that are not open."""

    plates: tuple[str, ...]
    entries: tuple[Dim, ...]
    must: frozenset[str]
    ranged: bool = False

    @property
    def all(self) -> Filling:
        """Plates as they are nested, then entries."""
        return (*self.plates, *range(len(self.entries)))

    def complete(self, filling: Filling) -> bool:
        """Whether every plate that is not open is filled, and the entries are from the first on."""
        entries = sorted(place for place in filling if isinstance(place, int))
        return self.must <= {*filling} and entries == list(range(len(entries)))

    def written(self, filling: Filling, items: Sequence[Item]) -> str:
        """The indices in the order of their places, with the names of open plates between them."""
        texts = {place: item.text for place, item in zip(filling, items, strict=True)}
        last = max(self.all.index(place) for place in filling)
        return ", ".join(texts.get(place, str(place)) for place in self.all[: last + 1])


def place_indices(scope: Scope, span: Span, name: str, items: Sequence[Item], places: Places) -> Filling | None:
    """The place of each index; None where that is reported, () where no choice of places takes them all."""
    named, left = by_name(scope, places), {*places.all} - {*pinned(items, places).values()}

    def anywhere(item: Item, place: Place) -> bool:
        """What has the written size of no place may go into any: what does not suit it there is said where it is looked at."""
        return named(item, place) or not any(named(item, other) for other in left)

    for fits in (named, anywhere):
        found = list(islice(fillings(items, places, fits), 2))
        if len(found) == 1:
            return found[0]
        if len(found) > 1 and fits is anywhere:
            return unfitting(scope, name, items, places)
        if found:
            return ambiguous(scope, span, name, items, places, found)
        if (other := next(swapped(items, places, fits), None)) is not None:
            return out_of_order(scope, span, name, items, places, other)
    return ()


def pinned(items: Sequence[Item], places: Places) -> dict[int, Place]:
    """The plates that items fill because they are of them: steps back, then the first of each."""
    found: dict[int, Place] = {}
    for at, item in sorted(enumerate(items), key=lambda each: each[1].value is not None):
        if item.plate in places.plates and item.plate not in found.values():
            found[at] = item.plate
    return found


def fillings(items: Sequence[Item], places: Places, fits: Fits) -> Iterator[Filling]:
    """The ways in which the items fill places that they fit, in the order of the places."""
    loose = [at for at in range(len(items)) if at not in pinned(items, places)]
    return (filling for filling in filled(items, places, fits, loose) if in_order(filling, loose, places))


def swapped(items: Sequence[Item], places: Places, fits: Fits) -> Iterator[Filling]:
    """The ways in any order."""
    loose = [at for at in range(len(items)) if at not in pinned(items, places)]
    for order in permutations(loose) if len(loose) <= MOST_SWAPPED else ():
        yield from filled(items, places, fits, order)


def filled(items: Sequence[Item], places: Places, fits: Fits, loose: Sequence[int]) -> Iterator[Filling]:
    """The ways in which the items of `loose` fill what indices of plates leave, each a later place than the one before."""
    firm = pinned(items, places)
    free = [place for place in places.all if place not in firm.values()]

    def after(rest: Sequence[int], first: int) -> Iterator[Filling]:
        if not rest:
            yield ()
        for at in range(first, len(free)) if rest else ():
            if fits(items[rest[0]], free[at]):
                yield from ((free[at], *others) for others in after(rest[1:], at + 1))
            if free[at] in places.must:
                return

    for chosen in after(loose, 0):
        where = firm | dict(zip(loose, chosen, strict=True))
        filling = tuple(where[at] for at in range(len(items)))
        if places.complete(filling):
            yield filling


def in_order(filling: Filling, loose: Sequence[int], places: Places) -> bool:
    """Whether indices that are not of a plate stand after all that come before them; those of plates may stand in any order."""
    at = [places.all.index(place) for place in filling]
    return all((i < j) == (at[i] < at[j]) for i in loose for j in range(len(at)) if i != j)


def by_name(scope: Scope, places: Places) -> Fits:
    """Whether an item fits a place, as their sizes are written."""

    def fits(item: Item, place: Place) -> bool:
        value = item.value
        if value is None or isinstance(value, m.Const):
            return value is not None
        kind = value.type
        label = kind.domain in ("category", "token")
        if place == 0 and places.ranged:
            return not label
        size = places.entries[place] if isinstance(place, int) else scope.plates[place].size
        if label or kind.domain == "bit":
            return not kind.shape and kind.card == size
        of = value.plate if isinstance(value, m.Position) else kind.plate
        return isinstance(place, int) and of in scope.plates and scope.plates[of].card == size

    return fits


# ---- what is refused


def reading(place: Place, places: Places) -> str:
    """What an index picks in a place."""
    if isinstance(place, str):
        return f"an element of `{place}`"
    return "an entry" if len(places.entries) == 1 else f"an entry along dimension {place + 1}"


def ambiguous(scope: Scope, span: Span, name: str, items: Sequence[Item], places: Places, found: Sequence[Filling]) -> None:
    """Report an index that fits in two places."""
    first, other = found[0], found[1]
    at = next(at for at in range(len(items)) if first[at] != other[at])
    item = items[at]
    which = " or ".join(reading(filling[at], places) for filling in (first, other))
    message = f"`{item.text}` may pick {which} of `{name}`: it fits both"
    ways = [
        f"write `{name}[{places.written(filling, items)}]` for {reading(filling[at], places)}"
        for filling in (first, other)
        if places.all.index(max(filling, key=places.all.index)) >= len(items)  # with a plate's name between the indices
    ]
    if len(ways) < 2 and isinstance(plate := first[at], str) and not isinstance(item.value, m.Const):
        ways.append(f"declare `{item.text}` as `index[{plate}]` to point at an element of `{plate}`")
    help = ", or ".join(ways) or None
    scope.problems.add("V217", item.span, message, "two places fit", cause=_opened(scope, found), help=help)


def out_of_order(scope: Scope, span: Span, name: str, items: Sequence[Item], places: Places, filling: Filling) -> None:
    """Report a category or number that stands where another place is."""
    at = [places.all.index(place) for place in filling]
    firm = pinned(items, places)
    wrong = next(i for i in range(len(items)) if i not in firm and any((i < j) != (at[i] < at[j]) for j in range(len(items))))
    message = f"`{items[wrong].text}` picks {reading(filling[wrong], places)} of `{name}`, and does not stand in its place"
    order = " and then ".join([*([listed(places.plates)] if places.plates else []), *["its entries"] * bool(places.entries)])
    help = f"write `{name}[{places.written(filling, items)}]`: `{name}` has {order}, in this order"
    scope.problems.add("V218", items[wrong].span, message, "out of order", cause=_opened(scope, [filling]), help=help)


def unfitting(scope: Scope, name: str, items: Sequence[Item], places: Places) -> None:
    """Report an index whose size is that of no place that is left."""
    fits, firm = by_name(scope, places), pinned(items, places)
    item = next(
        (each for at, each in enumerate(items) if at not in firm and not any(fits(each, place) for place in places.all)),
        items[-1],
    )
    message = f"no plate or entry of `{name}` that is left has the size of `{item.text}` as it is written"
    sizes = [scope.plates[place].size for place in places.plates if place not in firm.values()]
    known = dict.fromkeys(str(size) for size in (*sizes, *places.entries) if size is not None)
    help = f"give the type of `{item.text}` the size of the place that is meant: {listed(known, 'or')}"
    scope.problems.add("V217", item.span, message, "fits nowhere", help=help)


def _opened(scope: Scope, found: Sequence[Filling]) -> tuple[Span, str] | None:
    plate = next((place for filling in found for place in filling if isinstance(place, str)), None)
    return (scope.plates[plate].span, "opened here") if plate else None
