"""What a law says of the values of a structure beside its parameters, by name: `DependencyTree(..., projective=true)`."""

from dataclasses import replace

from vispec.catalog import Distribution, Option
from vispec.model.laws.support import supports_of
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import Type
from vispec.model.values.literals import literal
from vispec.structures import domains
from vispec.syntax import tree as t

Options = tuple[tuple[str, bool | str], ...]


def take_options(scope: Scope, node: t.Call, entry: Distribution, kind: Type | None) -> tuple[t.Call, Options | None]:
    """The call without the options that laws on such values have, and those that differ from what holds without them, with what
    the law says of all its values; None where one is wrong."""
    known = domains().get(kind.domain, {}) if kind is not None and kind.domain in supports_of(entry) else {}
    always = dict(entry.says)
    found, good = dict[str, bool | str](), True
    for keyword in node.kwargs:
        if keyword.name not in known:
            if known and keyword.name not in entry.params:
                message = f"`{entry.name}` on `{kind}` has no option `{keyword.name}`"
                help = did_you_mean(keyword.name, known, f"it has {listed(known)}")
                scope.problems.add("V405", keyword.span, message, "not an option", help=help)
                good = False
            continue
        option, value = known[keyword.name], setting(keyword.value)
        if keyword.name in found:
            message = f"`{keyword.name}` of `{entry.name}` is given twice"
            scope.problems.add("V407", keyword.span, message, "the second time", help="leave one of them out")
            good = False
        elif not fits(option, value):
            wanted = "true or false" if option.kind == "flag" else listed(option.choices, "or")
            message = f"`{keyword.name}` of `{entry.name}` must be {wanted}"
            scope.problems.add("V417", keyword.value.span, message, "this value")
            good = False
        elif always.get(keyword.name, value) != value:
            wanted, help = setting_text(always[keyword.name]), f"leave it out: `{entry.name}` is a law on such trees alone"
            message = f"`{keyword.name}` of `{entry.name}` is always {wanted}"
            scope.problems.add("V417", keyword.value.span, message, "this value", help=help)
            good = False
        found[keyword.name] = value
    left = replace(node, kwargs=tuple(each for each in node.kwargs if each.name in entry.params or not known))
    found |= {name: value for name, value in always.items() if name in known}
    said = tuple((name, found[name]) for name, option in known.items() if name in found and found[name] != option.default)
    return left, said if good else None


def setting(value: t.Expr) -> bool | str:
    """A truth value or a word; empty for anything else."""
    try:
        found = literal(value)
    except ValueError:
        return ""
    return found if isinstance(found, bool | str) else ""


def setting_text(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def fits(option: Option, value: bool | str) -> bool:
    return isinstance(value, bool) if option.kind == "flag" else value in option.choices
