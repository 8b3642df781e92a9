"""Some members of a module with what they need: all that they name of the module, and what that names in turn."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vispec.model.problems import did_you_mean, listed
from vispec.torch.text.source_text import needed


class UnknownMemberError(Exception):
    """A name that is no member's."""


@dataclass(frozen=True)
class Kept:
    """attributes: names of the module's that are read, methods among them; None: all. kernels: functions that are called."""

    attributes: frozenset[str] | None
    kernels: tuple[tuple[str, str], ...]

    def has(self, attribute: str) -> bool:
        return self.attributes is None or attribute in self.attributes


def name_of(lines: Sequence[str]) -> str:
    """What a member, a method or a property, is called."""
    head = next(line for line in lines if line.startswith("def "))
    return head.removeprefix("def ").partition("(")[0]


def kept(only: Collection[str], texts: Iterable[Sequence[str]], kernels: Collection[tuple[str, str]]) -> Kept:
    """What the members of these names need, of members with these lines and the functions around them; none: all is kept."""
    if not only:
        return Kept(None, tuple(kernels))
    members = {name_of(lines): lines for lines in texts}
    for name in (name for name in only if name not in members):
        help_ = did_you_mean(name, members, f"it has {listed(members)}")
        raise UnknownMemberError(f"this model's module has no member `{name}`; {help_}")
    attributes, called, pending = {*only}, dict[tuple[str, str], None](), [*only]
    while pending:
        tree = ast.parse("\n".join(members[pending.pop()]))
        words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        used = [kernel for kernel in kernels if kernel[1] in words]
        called |= dict.fromkeys(used)
        of_kernels = (node for module, each in used for node in needed(module, [each]))
        more = {*read_of("self", [tree]), *read_of("module", of_kernels)} - attributes
        attributes |= more
        pending += sorted(more & members.keys())
    return Kept(frozenset(attributes), tuple(called))


def read_of(name: str, trees: Iterable[ast.AST]) -> Iterator[str]:
    """The attributes of what is called so."""
    for node in (inner for tree in trees for inner in ast.walk(tree)):
        match node:
            case ast.Attribute(ast.Name(id=owner) | ast.Attribute(attr=owner), attr) if owner == name:
                yield attr


def arguments(lines: Iterable[str], sizes: Mapping[str, str]) -> list[str]:
    """Those of the sizes, by their names in the constructor, that its lines read."""
    words = {node.id for line in lines for node in ast.walk(ast.parse(line.strip())) if isinstance(node, ast.Name)}
    return [name for name, local in sizes.items() if local in words]
