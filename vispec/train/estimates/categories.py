"""Which categories a parameter's numbers are of, where no size has a name that they share: of `param p : simplex[5]` those of
`y : category[5] ~ Categorical(p)`."""

from collections.abc import Iterator, Mapping, Sequence

from vispec.model import model as m
from vispec.model.model import Model
from vispec.model.walk import law_parts, walk

BY_ENTRY = {"softmax", "exp", "log", "sqrt", "neg", "+", "-", "*", "/", "^"}
"""Functions of which an entry of the result is of the same entries of what they are given."""


def categories(model: Model, labels: Mapping[str, Sequence[str] | None]) -> dict[tuple[str, int], Sequence[str]]:
    """Labels by (parameter or let, dimension of its type); of those that several variables read, where these are the same."""
    found: dict[tuple[str, int], list[Sequence[str] | None]] = {}
    for name, dimension, variable in reads(model):
        if isinstance(variable.type.card, int) and not variable.type.shape:
            found.setdefault((name, dimension), []).append(labels.get(variable.name))
    return {key: some[0] for key, some in found.items() if some[0] is not None and all(each == some[0] for each in some)}


def reads(model: Model) -> Iterator[tuple[str, int, m.Variable]]:
    """The dimensions of parameters and lets whose entries are the values of a category."""
    for variable in model.variables:
        for part in law_parts(variable.law) if variable.law is not None else ():
            if variable.type.domain == "category" and part.type.domain == "simplex":
                yield from ((name, dimension, variable) for name, dimension in entries(model, part))
            yield from picked(model, part)
    for let in model.lets:
        yield from picked(model, let.value)


def picked(model: Model, value: m.Expression) -> Iterator[tuple[str, int, m.Variable]]:
    """What an expression picks by a category: `a[y]`, the first dimension of what is left."""
    for part in walk(value):
        at = part.at if isinstance(part, m.Element) else None
        if isinstance(at, m.Ref) and at.name in model.variable and at.type.domain == "category":
            base, skipped = part.base, 0  # pyright: ignore[reportAttributeAccessIssue]
            while isinstance(base, m.Element):
                base, skipped = base.base, skipped + 1
            if isinstance(base, m.Ref | m.Select):
                yield base.name, skipped, model.variable[at.name]


def entries(model: Model, value: m.Expression) -> Iterator[tuple[str, int]]:
    """The parameters and lets whose last dimension is that of a vector, entry by entry."""
    match value:
        case m.Ref(name=name) | m.Select(name=name) if value.type.shape:
            yield name, len(value.type.shape) - 1
            if name in model.let:
                yield from entries(model, model.let[name].value)
        case m.Element(base=base) if len(base.type.shape) > 1:
            yield from ((name, at) for name, at in entries(model, base))
        case m.Conditional(then=then, otherwise=otherwise):
            yield from (*entries(model, then), *entries(model, otherwise))
        case m.Apply(function=function, args=args) if function in BY_ENTRY:
            for part in args:
                yield from entries(model, part) if part.type.shape and not part.type.star else ()
