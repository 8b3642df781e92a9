"""Applying a net: arguments by position or name against its signature, and the type of a head."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vispec.model import model as m
from vispec.model.names.scope import Context, Scope, Signature
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import Type
from vispec.model.values.conform import fits_argument, shape_of
from vispec.model.walk import prefix_of
from vispec.source import Span
from vispec.syntax import tree as t

Arguments = tuple[m.Expression, ...]


def bind_net(
    scope: Scope, call: t.Call, net: Signature, values: Sequence[m.Expression | None], named: Mapping[str, m.Expression | None]
) -> Arguments | None:
    """The resolved arguments in the order of the signature; None where something is wrong with one of them."""
    names = [name for name, _ in net.args]
    cause = (net.span, "declared here")
    bound: dict[str, tuple[t.Expr, m.Expression | None]] = dict(zip(names, zip(call.args, values, strict=True), strict=False))
    good = True
    for keyword in call.kwargs:
        if keyword.name not in names or keyword.name in bound:
            what = "gets its argument `{}` twice" if keyword.name in bound else "has no argument `{}`"
            help = (
                did_you_mean(keyword.name, names, f"its arguments are {listed(names)}")
                if keyword.name not in bound
                else "leave one out"
            )
            message = f"net `{net.name}` {what.format(keyword.name)}"
            scope.problems.add("V505", keyword.span, message, "not expected", cause=cause, help=help)
            good = False
        else:
            bound[keyword.name] = (keyword.value, named[keyword.name])
    missing = [name for name in names if name not in bound]
    if len(call.args) > len(names) or (missing and good):
        takes = "1 argument" if len(names) == 1 else f"{len(names)} arguments"
        message = f"net `{net.name}` takes {takes} and gets {len(call.args) + len(call.kwargs)}"
        label = f"missing {listed(missing)}" if missing else "too many"
        help = f"write `{net.name}({', '.join(names)})`"
        scope.problems.add("V504", call.span, message, label, cause=cause, help=help)
        return None
    for name, kind in net.args if good else ():
        node, value = bound[name]
        good = kind is not None and value is not None and _fits(scope, net, name, kind, node, value) and good
    if not good:
        return None
    found = tuple((name, *bound[name]) for name in names)
    return tuple(value for _, _, value in found if value is not None) if _meet(scope, net, found) else None


def _meet(scope: Scope, net: Signature, found: Sequence[tuple[str, t.Expr, m.Expression | None]]) -> bool:
    """Report sequences that are read side by side and have elements of two plates."""
    kinds = dict(net.args)
    stars = [
        (name, node.span, value)
        for name, node, value in found
        if value is not None and (kind := kinds[name]) is not None and kind.star
    ]
    if net.memory and len(stars) > 1:  # all but the one that is looked up: the last that is no prefix
        looked_up = next((each for each in reversed(stars) if prefix_of(each[2]) is None), None)
        if looked_up is None and net.asks is not None:
            message = f"net `{net.name}` looks things up in a whole sequence, and gets prefixes alone"
            help = "pass a whole sequence last, such as `y[*]`, or leave out the flag"
            scope.problems.add("V513", stars[-1][1], message, "a prefix", cause=(net.asks, "looks things up"), help=help)
            return False
        stars = [each for each in stars if each is not looked_up]
    other = next((each for each in stars if each[2].type.over != stars[0][2].type.over), None)
    if other is None or net.apart:
        return True
    (first, cause, one), (second, span, two) = stars[0], other
    first_over, over = f"over `{one.type.over}`", f"over `{two.type.over}`"
    message = f"net `{net.name}` reads `{first}`, {first_over}, and `{second}`, {over}, side by side"
    help = "put `attend` into the trunk, which looks the last sequence up from the others, or run a net on each"
    scope.problems.add("V513", span, message, over, cause=(cause, first_over), help=help)
    return False


def _fits(scope: Scope, net: Signature, name: str, kind: Type, node: t.Expr, value: m.Expression) -> bool:
    """Report an argument that the net cannot take."""
    cause = (net.span, f"`{name} : {kind}`")
    why = fits_argument(scope, value, kind)
    takes = f"argument `{name}` of net `{net.name}`"
    if why is None:
        return _causal(scope, net, value, node)
    if why == "element":
        help = f"write `{value.name}[*]`" if isinstance(value, m.Ref) else "pass a whole sequence: `y[*]` or `x[<i]`"
        scope.problems.add(
            "V314", node.span, f"{takes} is a sequence, and this is one element", "one element", cause=cause, help=help
        )
    elif why == "sequence":
        help = "pass one element, or declare the argument with a `*`"
        scope.problems.add(
            "V314", node.span, f"{takes} is one element, and this is a sequence", "a sequence", cause=cause, help=help
        )
    elif why == "shape":
        has = replace(value.type, shape=shape_of(scope, value), star=kind.star)
        message = f"{takes} is `{kind}`, and this has the shape of `{has}`"
        help = f"the sizes must agree: {_sizes(scope, kind, has)}"
        scope.problems.add("V308", node.span, message, "another shape", cause=cause, help=help)
    elif why == "card":
        takes = f"{takes} has {scope.shown(scope.card(kind))} values"
        if isinstance(value, m.Const):
            message, help = f"{takes}, and this is {value.value}", "they are numbered from 0"
        else:
            message, help = f"{takes}, and this has {scope.shown(scope.card(value.type))}", "use the same size in both types"
        scope.problems.add("V309", node.span, message, "other values", cause=cause, help=help)
    else:
        message = f"{takes} is `{kind}`, and this is `{value.type}`"
        scope.problems.add(
            "V309", node.span, message, f"not `{kind.domain}`", cause=cause, help=convert(value.type, kind.domain)
        )
    return False


def _sizes(scope: Scope, left: Type, right: Type) -> str:
    def shown(kind: Type) -> str:
        return "(" + ", ".join(scope.shown(size) for size in kind.shape) + ")" if kind.shape else "a single number"

    return f"{shown(left)} there, {shown(right)} here"


def convert(kind: Type, domain: str) -> str | None:
    """How a value of one type is made one of another domain."""
    if kind.domain in ("category", "token") and domain in ("real", "bit", "unit", "count"):
        return "a label is not a number: write `one_hot(...)`, or give the net a `category` argument"
    if domain in ("category", "token", "index"):
        return f"declare the net's argument as `{kind}`" if kind.domain != "simplex" else None
    functions = {"positive": "softplus", "unit": "sigmoid", "simplex": "softmax"}
    if domain not in functions or kind.domain == "simplex":
        return None
    return f"write `{domain}(...)` if it surely is, which is checked; `{functions[domain]}(...)` makes it another value"


def _causal(scope: Scope, net: Signature, value: m.Expression, node: t.Expr) -> bool:
    """A net that reads a prefix must not look ahead in it."""
    sequence = prefix_of(value.sequence if isinstance(value, m.Where) else value)
    if net.ahead is None or sequence is None:
        return True
    message = f"net `{net.name}` reads the prefix `{sequence.name}[<{sequence.plate}]`, but it also looks ahead"
    help = "leave out `bidirectional`, or use a layer that reads in one direction"
    scope.problems.add(
        "V509", node.span, message, "must be read from left to right", cause=(net.ahead, "looks ahead"), help=help
    )
    return False


def apply_head(context: Context, scope: Scope, span: Span, net: Signature, args: Arguments, head: str) -> m.NetCall | None:
    """One head of the net on these arguments; None where the head's type was wrong."""
    kind = dict(net.heads)[head]
    if kind is None:
        return None
    if kind.star:
        over, whole = _along(net, args)
        kind = replace(kind, over=over, star=whole or over not in context.open)
    return m.NetCall(span, kind, net.name, args, head)


def _along(net: Signature, args: Arguments) -> tuple[str | None, bool]:
    """The plate of the first starred argument, and whether only a whole sequence comes out, as of a prefix."""
    for (_, kind), value in zip(net.args, args, strict=True):
        if kind is not None and kind.star:
            return value.type.over, prefix_of(value) is not None
    return None, True


def the_only_head(scope: Scope, span: Span, net: Signature) -> str | None:
    """The name of the head of a net with one; a net with several is reported."""
    if len(net.heads) == 1:
        return net.heads[0][0]
    names = [name for name, _ in net.heads]
    message = f"net `{net.name}` has {len(names)} heads, {listed(names)}; one value is needed here"
    help = f"name one: `{net.name}(...).{names[0]}`"
    scope.problems.add("V506", span, message, "which head?", cause=(net.span, "declared here"), help=help)
    return None


def named_head(scope: Scope, node: t.Attribute, net: Signature) -> bool:
    """Whether the net has this head; a missing one is reported."""
    names = [name for name, _ in net.heads if name]
    if node.name in names:
        return True
    known = f"its heads are {listed(names)}" if names else "its only head has no name: leave out the dot"
    end = Span(
        node.span.end - len(node.name),
        node.span.end,
        node.span.end_line,
        node.span.end_column - len(node.name),
        node.span.end_line,
        node.span.end_column,
    )
    message = f"net `{net.name}` has no head `{node.name}`"
    scope.problems.add(
        "V507", end, message, "not a head", cause=(net.span, "declared here"), help=did_you_mean(node.name, names, known)
    )
    return False
