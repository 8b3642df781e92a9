"""What laws and expressions read, through lets."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

from vispec.model import model as m
from vispec.model.model import Model


def reading_order(model: Model, laws: Mapping[str, m.Law]) -> list[str]:
    """Guided variables, each after those that its guide reads."""
    lets = {let.name: let.value for let in (*model.lets, *model.guide_lets)}
    order: list[str] = []

    def visit(name: str, inside: tuple[str, ...]) -> None:
        if name not in order and name not in inside:
            for other in sorted(names_in(laws[name], lets) & laws.keys() - {name}):
                visit(other, (*inside, name))
            order.append(name)

    for name in laws:
        visit(name, ())
    return order


def names_in(node: object, lets: Mapping[str, m.Expression]) -> set[str]:
    """Every name that an expression or law reads, through lets."""
    found: set[str] = set()
    if isinstance(node, m.Ref | m.All | m.Prefix | m.Past | m.Select):
        others = {name: value for name, value in lets.items() if name != node.name}  # a state reads its own past
        found = {node.name} | (names_in(lets[node.name], others) if node.name in lets else set())
    if isinstance(node, tuple):
        return found.union(*(names_in(item, lets) for item in node))
    if is_dataclass(node):
        return found.union(*(names_in(getattr(node, f.name), lets) for f in fields(node) if f.name not in ("span", "type")))
    return found


def draws_of(law: m.Law) -> Iterator[m.Draw]:
    """Every draw that a law may come down to, under its conditions and along a chain."""
    match law:
        case m.Draw():
            yield law
        case m.Choice(then=then, otherwise=otherwise):
            yield from draws_of(then)
            yield from draws_of(otherwise)
        case m.Then(laws=laws):
            for each in laws:
                yield from draws_of(each)
