"""Labels that a spec names: `category["low", "medium", "high"]`, and `c == "low"`, which is a comparison with a number."""

from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean
from vispec.model.values.conform import const
from vispec.syntax import tree as t


def compared(scope: Scope, node: t.Binary, value: m.Expression | None) -> tuple[m.Expression, m.Expression] | None:
    """Both sides of a comparison of a value with a label, which is its number; None where something is reported."""
    text = node.left if isinstance(node.left, t.String) else node.right
    if value is None or not isinstance(text, t.String):
        return None
    number = _number(scope, node, value, text)
    if number is None:
        return None
    return (const(number, text.span), value) if text is node.left else (value, const(number, text.span))


def _number(scope: Scope, node: t.Binary, value: m.Expression, text: t.String) -> int | None:
    labels, kind, help = value.type.labels, f"`{value.type}`", None
    if labels is not None and text.value in labels and node.op in ("==", "!="):
        return labels.index(text.value)
    if value.type.domain != "category":
        message = f"only a category has labels, and this is {kind}"
    elif labels is None:
        message = f"this is {kind}, whose labels only the data know"
        help = f'name them in its type: `category["{text.value}", ...]`'
    elif node.op not in ("==", "!="):
        message, help = "labels can be equal, and nothing else", "compare it with each label that is meant"
    else:
        message = f'{kind} has no label "{text.value}"'
        help = did_you_mean(text.value, labels, "write one of its labels")
    scope.problems.add("V310", text.span, message, "a label", cause=(value.span, kind), help=help)
    return None


def read_labels(scope: Scope, node: t.TypeOf) -> tuple[str, ...] | None:
    """The labels between the brackets of a category, or None where that is reported."""
    labels: list[str] = []
    for argument in node.args:
        if not isinstance(argument, t.String):
            message = "a category has labels, or one size and the sizes of its shape"
            help = 'write all of its labels in quotes: `category["low", "high"]`'
            scope.problems.add("V303", argument.span, message, "not a label", help=help)
            return None
        if argument.value in labels or not argument.value.strip():
            message = f'the label "{argument.value}" stands there twice' if argument.value.strip() else "a label is empty"
            scope.problems.add("V303", argument.span, message, "not a label of its own", help="leave it out")
            return None
        labels.append(argument.value)
    return tuple(labels)
