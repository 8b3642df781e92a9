"""Expressions as written → resolved expressions with types. What is wrong is reported, and gives None."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from vispec.model import model as m
from vispec.model.names.names import find, find_net, is_function, outside, own_element, position
from vispec.model.names.scope import Context, Scope, Signature
from vispec.model.nets.nets import Arguments, apply_head, bind_net, named_head, the_only_head
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import WHAT, WHOLE_DOMAINS, Type
from vispec.model.values.applying import apply_function, apply_operator, condition, is_scalar
from vispec.model.values.conform import const, join
from vispec.model.values.elements import index_event
from vispec.model.values.functions import plain
from vispec.model.values.heads import below_root, property_of
from vispec.model.values.indexing import index_symbol
from vispec.model.values.labels import compared
from vispec.model.values.ranges import narrowest, range_of
from vispec.syntax import tree as t

Result = m.Expression | None
NUMBER = Type("count")


def resolve(scope: Scope, context: Context, node: t.Expr | t.Comprehension) -> Result:
    """The value of an expression in its context."""
    return _RULES[type(node)](scope, context, node)


def _number(scope: Scope, context: Context, node: t.Number) -> Result:
    return const(node.value, node.span)


def _string(scope: Scope, context: Context, node: t.String) -> Result:
    help = 'write a number or a name; a label stands where it is compared, as in `c == "low"`'
    scope.problems.add("V315", node.span, "text is not a value of a model", "text in quotes", help=help)
    return None


def _then(scope: Scope, context: Context, node: t.Then) -> Result:
    scope.problems.add("V315", node.span, "`then` joins laws, and this is a value", "not a value", help="use it after a `~`")
    return None


# ---- names


def _name(scope: Scope, context: Context, node: t.Name) -> Result:
    symbol = find(scope, context, node)
    if symbol is None:
        if node.id in ("true", "false") and node.id not in scope.poisoned:
            return const(int(node.id == "true"), node.span)
        return None
    if symbol.kind in ("size", "vocabulary"):
        return None if symbol.name in scope.poisoned else m.SizeOf(node.span, Type("positive"), symbol.name)
    if symbol.kind in ("plate", "chain"):
        return position(scope, context, node)
    if symbol.kind in ("net", "embedding"):
        help = f"apply it: `{symbol.name}(...)`" if symbol.kind == "net" else f"a net reads it: `embed({symbol.name})`"
        scope.problems.add(
            "V103",
            node.span,
            f"`{symbol.name}` is {symbol.a}, not a value",
            symbol.a,
            cause=(symbol.span, "declared here"),
            help=help,
        )
        return None
    kind = symbol.type
    if kind is not None and kind.domain in WHOLE_DOMAINS and kind.plate not in context.open:
        plate, what = scope.plates[kind.plate or ""], WHAT[kind.domain]
        message = f"`{symbol.name}` has a {what} for each element of `{plate.name}`, and none is open here"
        help = f"read it inside `{plate.kind} {plate.name}:`"
        scope.problems.add("V201", node.span, message, f"whose {what}?", cause=(plate.span, "opened here"), help=help)
        return None
    if kind is not None and kind.element is not None:
        kind = kind.element
    if kind is not None and kind.along is not None:
        kind = replace(kind, along=None)
    return None if kind is None else own_element(scope, context, symbol, node.span, kind)


def _index(scope: Scope, context: Context, node: t.Index) -> Result:
    symbol = find(scope, context, node.base) if isinstance(node.base, t.Name) else None
    if isinstance(node.base, t.Name) and symbol is None:
        return None
    if symbol is not None and symbol.kind in ("variable", "parameter", "let"):
        kind = None if symbol.type is None else replace(symbol.type, along=None)  # that of an element
        return None if kind is None else index_symbol(scope, context, node, symbol, kind, resolve)
    if symbol is not None:
        help = f"apply it: `{symbol.name}(...)`" if symbol.kind == "net" else "write the name of a variable before the bracket"
        message = f"`{symbol.name}` is {symbol.a}, and has no elements"
        scope.problems.add(
            "V214", node.base.span, message, "cannot be indexed", cause=(symbol.span, "declared here"), help=help
        )
        return None
    base = resolve(scope, context, node.base)
    for item in node.items:
        if isinstance(item, t.All | t.Before):
            message = "only a variable, parameter or let has a whole sequence or a prefix"
            scope.problems.add("V210", node.span, message, "not a name", help="give the value a name with `let`")
            return None
    items = [item for item in node.items if not isinstance(item, t.All | t.Before)]
    values = [value for item in items if (value := resolve(scope, context, item)) is not None]
    return None if base is None or len(values) < len(items) else index_event(scope, node, base, items, values)


# ---- sequences


def _where(scope: Scope, context: Context, node: t.Where) -> Result:
    sequence, mask = resolve(scope, context, node.sequence), resolve(scope, context, node.mask)
    if sequence is None or mask is None:
        return None
    if not sequence.type.star:
        help = "write the whole sequence before `where`: `y[*] where f[*]`"
        scope.problems.add(
            "V215", node.sequence.span, "`where` picks from a sequence, and this is one element", "one element", help=help
        )
    elif mask.type.domain != "bit" or not mask.type.star or mask.type.shape:
        help = "write the whole sequence of bits: `y[*] where f[*]`"
        scope.problems.add(
            "V215", node.mask.span, f"the mask is `{mask.type}`, not one bit for each element", "not a mask", help=help
        )
    elif mask.type.over != sequence.type.over:
        message = f"the sequence runs along `{sequence.type.over}` and the mask along `{mask.type.over}`"
        cause = (node.sequence.span, f"along `{sequence.type.over}`")
        scope.problems.add(
            "V215", node.mask.span, message, f"along `{mask.type.over}`", cause=cause, help="use a mask of the same plate"
        )
    else:
        return m.Where(node.span, sequence.type, sequence, mask)
    return None


def _comprehension(scope: Scope, context: Context, node: t.Comprehension) -> Result:
    name = node.plate.id
    plate = scope.plates.get(name)
    if plate is None:
        if name not in scope.poisoned:
            help = did_you_mean(name, scope.written, "name a plate that is opened somewhere")
            scope.problems.add("V101", node.plate.span, f"no plate is called `{name}`", "not opened anywhere", help=help)
        return None
    scope.used.add(name)
    opened = (plate.span, "opened here")
    if name in context.open:
        message = f"`for {name}` runs over a {plate.kind} that is open around it"
        scope.problems.add("V216", node.plate.span, message, "open already", cause=opened, help="run over another plate")
        return None
    if plate.data:
        message = f"`for {name}` would run over all rows of the data"
        scope.problems.add("V211", node.plate.span, message, "all rows", cause=opened, help="run over a plate inside of it")
        return None
    missing = [outer for outer in plate.inside if outer not in context.open] if plate.size is None else []
    if missing:
        message = f"the size of `{name}` depends on {listed(missing)}, which is not open here"
        scope.problems.add(
            "V201", node.plate.span, message, "how many elements?", cause=opened, help=f"move this into `{missing[0]}`"
        )
        return None
    body = resolve(scope, context.within(name), node.body)
    if body is None or not is_scalar(scope, body, node.body.span, "each entry of a vector"):
        return None
    return m.For(node.span, Type(plain(body.type.domain), (plate.card,)), body, name)


def _length(scope: Scope, context: Context, node: t.Length) -> Result:
    operand = node.operand
    if isinstance(operand, t.Index) and len(operand.items) == 1 and isinstance(operand.items[0], t.All):
        operand = operand.base
    if not isinstance(operand, t.Name):
        message = "a length is that of a variable along its innermost plate"
        scope.problems.add("V318", node.operand.span, message, "not a variable", help="write the name of a variable: `|x|`")
        return None
    symbol = find(scope, context, operand)
    if symbol is None or (symbol.kind == "let" and symbol.type is None):
        return None
    plates = (symbol.name,) if symbol.kind in ("plate", "chain") else symbol.plates
    if symbol.type is not None and symbol.type.plate is not None and symbol.type.domain in WHOLE_DOMAINS:
        plates = (*plates, symbol.type.plate)
    if symbol.kind == "net" or not [p for p in plates if not scope.plates[p].implicit]:
        message = f"`{symbol.name}` stands in no plate, so it has no length"
        scope.problems.add("V318", node.span, message, "no length", cause=(symbol.span, "declared here"))
        return None
    plate = scope.plates[plates[-1]]
    missing = [p for p in (*plates[:-1], *plate.inside) if p not in context.open and (p in plates or plate.size is None)]
    if plate.data:
        message = f"`{symbol.name}` stands directly in the data plate: its length would be the number of rows"
        scope.problems.add("V211", node.span, message, "all rows", cause=(plate.span, "the data plate"))
    elif missing:
        outside(scope, symbol, node.span, missing)
    else:
        return m.Length(node.span, NUMBER, plate.name)
    return None


def _list(scope: Scope, context: Context, node: t.ListOf) -> Result:
    if not node.items:
        scope.problems.add("V315", node.span, "an empty list is no vector", "empty", help="write its entries: `[0.5, 0.5]`")
        return None
    items = [resolve(scope, context, item) for item in node.items]
    values = [value for value in items if value is not None]
    if len(values) < len(items):
        return None
    if not all([is_scalar(scope, value, value.span, "each entry of a list") for value in values]):
        return None
    kind, first = values[0].type, values[0]
    for value in values[1:]:
        joined = join(scope, replace(first, type=kind), value)
        kind = joined if joined is not None else Type("real")
    return m.Stack(node.span, Type(plain(kind.domain), (len(values),)), tuple(values))


# ---- operators


def _unary(scope: Scope, context: Context, node: t.Unary) -> Result:
    operand = resolve(scope, context, node.operand)
    if operand is None:
        return None
    if node.op == "not":
        return (
            m.Apply(node.span, Type("bit", operand.type.shape, card=2), "not", (operand,))
            if condition(scope, operand)
            else None
        )
    if isinstance(operand, m.Const):
        return const(-operand.value, node.span)
    return apply_operator(scope, node.span, "neg", (operand,))


def _binary(scope: Scope, context: Context, node: t.Binary) -> Result:
    text = isinstance(node.left, t.String), isinstance(node.right, t.String)
    if text in ((True, False), (False, True)):
        values = compared(scope, node, resolve(scope, context, node.right if text[0] else node.left))
        return None if values is None else apply_operator(scope, node.span, node.op, values)
    left, right = resolve(scope, context, node.left), resolve(scope, context, node.right)
    return None if left is None or right is None else apply_operator(scope, node.span, node.op, (left, right))


def _if_else(scope: Scope, context: Context, node: t.IfElse) -> Result:
    test = resolve(scope, context, node.test)
    with scope.ranges.assuming(scope, test, holds=True):
        then = resolve(scope, context, node.then)
    with scope.ranges.assuming(scope, test, holds=False):
        otherwise = resolve(scope, context, node.otherwise)
    if test is None or then is None or otherwise is None or not condition(scope, test):
        return None
    then, otherwise = below_root(test, then, otherwise)
    kind = join(scope, then, otherwise)
    if kind is None:
        message = f"one branch is `{then.type}` and the other `{otherwise.type}`"
        cause = (then.span, f"`{then.type}`")
        scope.problems.add(
            "V317", otherwise.span, message, f"`{otherwise.type}`", cause=cause, help="give both branches one type"
        )
        return None
    found = m.Conditional(node.span, kind, test, then, otherwise)
    known = narrowest(range_of(scope, found)) if kind.domain == "real" else kind.domain
    return replace(found, type=replace(kind, domain=known))


# ---- calls


def _call(scope: Scope, context: Context, node: t.Call) -> Result:
    name = node.function.id
    if is_function(scope, name):
        args = [resolve(scope, context, argument) for argument in node.args]
        for keyword in node.kwargs:
            message = f"`{name}` takes its arguments by position"
            scope.problems.add("V313", keyword.span, message, "a named argument", help=f"leave out `{keyword.name}=`")
        values = tuple(value for value in args if value is not None)
        return None if len(values) < len(args) or node.kwargs else apply_function(scope, context, node, values)
    net = find_net(scope, node)
    if net is None:
        _visit(scope, context, node)
        return None
    args = resolve_arguments(scope, context, node, net)
    head = the_only_head(scope, node.span, net)
    return None if args is None or head is None else apply_head(context, scope, node.span, net, args, head)


def _visit(scope: Scope, context: Context, node: t.Call) -> None:
    """Report what is wrong in the arguments of a call whose function is wrong already."""
    for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
        resolve(scope, context, argument)


def resolve_arguments(scope: Scope, context: Context, node: t.Call, net: Signature) -> Arguments | None:
    """The arguments of a net's call, resolved and checked against its signature."""
    values = [resolve(scope, context, argument) for argument in node.args]
    named: dict[str, Result] = {keyword.name: resolve(scope, context, keyword.value) for keyword in node.kwargs}
    return bind_net(scope, node, net, values, named)


def _attribute(scope: Scope, context: Context, node: t.Attribute) -> Result:
    if not isinstance(node.base, t.Call) or is_function(scope, node.base.function.id):
        base = resolve(scope, context, node.base)
        if isinstance(base, m.Ref) and base.type.domain == "tree":
            return property_of(scope, node, base)
        if base is not None:
            help = f"write it after the net: `net(...).{node.name}`"
            scope.problems.add("V507", node.span, "only the call of a net has heads", "not the call of a net", help=help)
        return None
    net = find_net(scope, node.base)
    if net is None:
        return None
    args = resolve_arguments(scope, context, node.base, net)
    if not named_head(scope, node, net) or args is None:
        return None
    return apply_head(context, scope, node.span, net, args, node.name)


_RULES: Mapping[type[t.Node], Callable[..., Result]] = {
    t.Number: _number,
    t.String: _string,
    t.Name: _name,
    t.Index: _index,
    t.Where: _where,
    t.Call: _call,
    t.Attribute: _attribute,
    t.Unary: _unary,
    t.Binary: _binary,
    t.IfElse: _if_else,
    t.Comprehension: _comprehension,
    t.Length: _length,
    t.ListOf: _list,
    t.Then: _then,
}
