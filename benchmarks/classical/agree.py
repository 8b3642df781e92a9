"""Whether the estimates that `vispec params --json` shows are those of a reference, up to the order of classes.

An estimate agrees within 1e-4 of itself or 1e-3 of its standard error, a standard error within 1e-3 of itself; where the
reference has none (null: at a bound, not identified, no data), vispec must have none either and say why.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any

ESTIMATE, OF_ERROR, ERROR = 1e-4, 1e-3, 1e-3

Index = tuple[int, ...]
Key = tuple[str, Index]


def disagreements(truth: Mapping[str, Any], shown: Mapping[str, Any]) -> list[str]:
    """What differs, a phrase each, in the order of classes in which the least does."""
    estimates = {(p["name"], tuple(p["index"])): p for p in shown["parameters"] if not p["derived"]}
    values, errors = entries(truth["params"]), entries(truth.get("se", {}))
    values = {key: value for key, value in values.items() if key in estimates or value}  # no zeros above a diagonal
    if missing := [key for key in values if key not in estimates]:
        return [f"{title(missing[0])} is not shown"]
    loose = {key for key, error in errors.items() if error is None}
    found = None
    for order, axes in orders(truth):
        said = []
        for key, value in values.items():
            name, index = key
            place = (name, tuple(order[i] if axis in axes(name) else i for axis, i in enumerate(index)))
            said += _compare(truth, key, value, errors.get(key), estimates[place], key in loose)
        if found is None or len(said) < len(found):
            found = said
    return found or []


def orders(truth: Mapping[str, Any]) -> Iterator[tuple[Sequence[int], Any]]:
    """Each order of the classes, with the axes of a parameter that it moves. `classes` of truth is the axes by parameter; or
    only how many there are: then the first axis, and that of a square `trans` the second."""
    classes = truth.get("classes")
    if classes is None:
        yield (), lambda name: ()
        return
    if isinstance(classes, int):
        count, of = classes, {name: [0, 1] if name == "trans" else [0] for name in truth["params"]}
        of = {name: axes for name, axes in of.items() if isinstance(truth["params"][name], list)}
    else:
        of, (name, axes) = classes, next(iter(classes.items()))
        shape = truth["params"][name]
        for _ in range(axes[0]):
            shape = shape[0]
        count = len(shape)
    for order in permutations(range(count)):
        yield order, lambda name: of.get(name, ())


def _compare(
    truth: Mapping[str, Any], key: Key, value: float, error: float | None, shown: Mapping[str, Any], loose: bool
) -> list[str]:
    estimate, name = shown["estimate"], title(key)
    if loose:
        return [] if shown["se"] is None and shown["note"] else [f"{name} has a standard error, {shown['se']}"]
    gap = abs(estimate - value)
    if period := truth.get("periods", {}).get(key[0]):
        gap = min(gap % period, -gap % period)
    if key[0] in truth.get("mirrored", ()):
        gap = abs(abs(estimate) - abs(value))
    said = []
    if gap > max(ESTIMATE * abs(value), OF_ERROR * (error or 0)) and not (error is None and gap < ESTIMATE):
        said.append(f"{name} {estimate:.6g} for {value:.6g}")
    if error is not None and (shown["se"] is None or abs(shown["se"] - error) > ERROR * error):
        said.append(f"se of {name} {shown['se'] and format(shown['se'], '.6g')} for {error:.6g} ({shown['note']})")
    return said


def entries(nested: Mapping[str, Any]) -> dict[Key, Any]:
    """Nested lists by name as numbers by name and index."""

    def walk(value: Any, index: Index) -> Iterator[tuple[Index, Any]]:
        if not isinstance(value, list):
            yield index, value
            return
        for place, each in enumerate(value):
            yield from walk(each, (*index, place))

    return {(name, index): number for name, value in nested.items() for index, number in walk(value, ())}


def title(key: Key) -> str:
    return f"{key[0]}[{', '.join(map(str, key[1]))}]" if key[1] else key[0]
