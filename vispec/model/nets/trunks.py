"""Nets as declared: their signature, then the layers of the trunk against the catalog, then the priors over their weights."""

from collections.abc import Sequence

from vispec.catalog import Network, Option, distributions, networks
from vispec.model import model as m
from vispec.model.laws.laws import resolve_law
from vispec.model.laws.support import Target
from vispec.model.names.annotations import Place, read_type
from vispec.model.names.scope import Context, Scope, Signature
from vispec.model.names.sizes import size_of
from vispec.model.problems import did_you_mean, head, listed
from vispec.model.types import Type
from vispec.model.values.literals import is_number, is_whole, literal
from vispec.source import Span
from vispec.syntax import tree as t
from vispec.trunk import trunk_problems


def read_signature(scope: Scope, node: t.Net) -> Signature:
    """What callers need to know of a net."""
    args, heads = _named(scope, node, node.args, "argument"), _named(scope, node, node.heads, "head")
    starred = any(kind is None or kind.star for _, kind in args)
    for named, (name, kind) in zip(node.heads, heads, strict=False):
        if kind is not None and kind.star and not starred:
            what = f"head `{name}`" if name else "the output"
            message = f"{what} of net `{node.name.id}` is a sequence, but no argument is: how long is it?"
            help = "leave out this `*`, or star the argument along which it runs"
            scope.problems.add("V511", named.type.span, message, "a sequence of what length?", help=help)
            heads = tuple((n, None if n == name else k) for n, k in heads)
    layers = [(networks()[name], stage) for stage in node.trunk if (name := stage.call.function.id) in networks()]
    memory = any(_does(stage, layer.memory) is not None for layer, stage in layers)
    flags = (_does(stage, layer.memory) for layer, stage in layers if isinstance(layer.memory, str))
    asks = next((span for span in flags if span is not None), None)
    apart = any(layer.open_options for layer, _ in layers)
    return Signature(node.name.id, node.name.span, args, heads, _ahead(node), memory, asks, apart)


def _named(scope: Scope, node: t.Net, entries: Sequence[t.Named], place: Place) -> tuple[tuple[str, Type | None], ...]:
    found: dict[str, tuple[Type | None, Span]] = {}
    for entry in entries:
        kind = read_type(scope, entry.type, place)
        span = head(entry.span, entry.name)
        if entry.name in found:
            message = f"net `{node.name.id}` has two {place}s called `{entry.name}`"
            cause = (found[entry.name][1], "the first one")
            scope.problems.add("V510", span, message, "the second one", cause=cause, help="give one of them another name")
            scope.poisoned.add(node.name.id)
        else:
            found[entry.name] = (kind, span)
    return tuple((name, kind) for name, (kind, _) in found.items())


def _ahead(node: t.Net) -> Span | None:
    """The layer that reads its sequence in both directions, if there is one."""
    for stage in node.trunk:
        entry = networks().get(stage.call.function.id)
        causal = entry.causal if entry else True
        span = _does(stage, causal if isinstance(causal, str) else not causal)
        if span is not None:
            return span
    return None


def _does(stage: t.Stage, what: bool | str) -> Span | None:
    """Where a layer says that it does something: by its name, or by the flag of that name, where it is set."""
    if not isinstance(what, str):
        return stage.call.function.span if what else None
    for argument in stage.call.args:
        if isinstance(argument, t.Name) and argument.id == what:
            return argument.span
    for keyword in stage.call.kwargs:
        if keyword.name == what and not (isinstance(keyword.value, t.Name) and keyword.value.id == "false"):
            return keyword.span
    return None


def read_net(scope: Scope, node: t.Net, signature: Signature) -> m.Net | None:
    """The net with its trunk; None where something in it is reported."""
    stages = [_stage(scope, stage, signature) for stage in node.trunk]
    prior = None if node.prior is None else _prior(scope, node.prior, f"the weights of `{node.name.id}`")
    args = tuple((name, kind) for name, kind in signature.args if kind is not None)
    heads = tuple((name, kind) for name, kind in signature.heads if kind is not None)
    good = tuple(stage for stage in stages if stage is not None)
    net = m.Net(node.name.id, args, heads, good, prior, node.name.span)
    if len(args) + len(heads) + len(good) == len(signature.args) + len(signature.heads) + len(node.trunk):
        _flows(scope, node, net)
    return net


def _stage(scope: Scope, node: t.Stage, signature: Signature) -> m.Stage | None:
    name = node.call.function.id
    prior = None if node.prior is None else _prior(scope, node.prior, f"the weights of `{name}`")
    entry = networks().get(name)
    if entry is None:
        help = did_you_mean(name, networks(), f"the layers are {listed(networks())}")
        scope.problems.add("V501", node.call.function.span, f"there is no layer `{name}`", "not a layer", help=help)
        return None
    settings = _settings(scope, node.call, entry, signature)
    if settings is None:
        return None
    return m.Stage(name, (), settings, prior, node.span)


def _settings(scope: Scope, node: t.Call, entry: Network, signature: Signature) -> tuple[tuple[str, m.Setting], ...] | None:
    """The layer's options by name, positions and bare flags included."""
    pairs = _pairs(scope, node, entry)
    found: dict[str, m.Setting] = {}
    good = len(pairs) == len(node.args) + len(node.kwargs)
    for name, option, value, span in pairs:
        if name in found:
            scope.problems.add(
                "V503", span, f"`{name}` of layer `{entry.name}` is given twice", "the second time", help="leave one out"
            )
            good = False
            continue
        try:
            found[name] = _option(scope, option, value, signature)
        except ValueError as error:
            if str(error):
                message = f"`{name}` of layer `{entry.name}` must be {error}"
                scope.problems.add("V503", value.span, message, "this value")
            good = False
    missing = [name for name, option in entry.options.items() if option.required and name not in found]
    if missing and good:
        message = f"layer `{entry.name}` needs {listed(missing)}"
        example = _example(entry.options[missing[0]])
        help = f"write `{entry.name}({example})`" if not found else f"add `{missing[0]}={example}`"
        if entry.name == "linear":
            help += "; the last layer is there anyway, and `mlp([])` is a net of that one alone"
        scope.problems.add("V503", node.span, message, f"missing {listed(missing)}", help=help)
    return tuple(found.items()) if good and not missing else None


def _example(option: Option) -> str:
    return {
        "size": "64",
        "embedding": "64",
        "table": "E",
        "sizes": "[64]",
        "fraction": "0.5",
        "text": '"package.module:Class"',
    }.get(option.kind, "...")


def _pairs(scope: Scope, node: t.Call, entry: Network) -> list[tuple[str, Option | None, t.Expr, Span]]:
    """(name, option, value, where it is) of each setting; those that the layer does not have are reported and left out."""
    positions = [name for name, option in entry.options.items() if option.kind != "flag"]
    pairs: list[tuple[str, Option | None, t.Expr, Span]] = []
    place = 0
    for value in node.args:
        flag = entry.options.get(value.id) if isinstance(value, t.Name) else None
        if flag is not None and flag.kind == "flag" and isinstance(value, t.Name):
            pairs.append((value.id, flag, t.Name(value.span, "true"), value.span))
        elif place < len(positions):
            pairs.append((positions[place], entry.options[positions[place]], value, value.span))
            place += 1
        else:
            known = f"it has {listed(entry.options)}" if entry.options else f"write `{entry.name}` alone"
            scope.problems.add("V502", value.span, f"layer `{entry.name}` takes no such setting", "one too many", help=known)
    for keyword in node.kwargs:
        option = entry.options.get(keyword.name)
        if option is None and not entry.open_options:
            known = f"it has {listed(entry.options)}" if entry.options else f"write `{entry.name}` alone"
            help = did_you_mean(keyword.name, entry.options, known)
            message = f"layer `{entry.name}` has no option `{keyword.name}`"
            scope.problems.add("V502", head(keyword.span, keyword.name), message, "not an option", help=help)
        else:
            pairs.append((keyword.name, option, keyword.value, keyword.span))
    return pairs


def _option(scope: Scope, option: Option | None, value: t.Expr, signature: Signature) -> m.Setting:
    """The setting; ValueError says what it must be, with no text where that is reported already."""
    match option.kind if option else "any":
        case "count":
            if isinstance(value, t.Number) and is_whole(value.value):
                return value.value
            raise ValueError("a whole number of at least 1")
        case "size":
            return _size(scope, value)
        case "table" | "embedding" if isinstance(value, t.Name) and _is_table(scope, value.id):
            scope.used.add(value.id)
            if value.id in scope.poisoned:
                raise ValueError("")
            return scope.embeddings[value.id]
        case "table":
            tables = scope.of_kind("embedding")
            raise ValueError(f"the name of an embedding: {listed(tables, 'or') if tables else 'declare `embedding E(V, 300)`'}")
        case "embedding":
            return _size(scope, value)
        case "sizes":
            items = value.items if isinstance(value, t.ListOf) else (value,)
            return tuple(_size(scope, item) for item in items)
        case "argument":
            names = [name for name, kind in signature.args if kind is None or not kind.star]
            if isinstance(value, t.Name) and value.id in names:
                return value.id
            raise ValueError(f"an argument of the net without a star: {listed(names, 'or') or 'there is none'}")
    try:
        setting = literal(value)
    except ValueError:
        raise ValueError("written out: a number, a word or a text in quotes") from None
    if option is None:
        return setting
    if option.kind == "fraction" and not (is_number(setting) and 0 <= setting < 1):  # type: ignore[operator]
        raise ValueError("a number from 0 to below 1")
    if option.kind == "flag" and not isinstance(setting, bool):
        raise ValueError("true or false")
    if option.kind == "choice" and setting not in option.choices:
        raise ValueError(f"one of {listed(option.choices, 'or')}")
    if option.kind == "text" and not isinstance(value, t.String):
        raise ValueError("a text in quotes")
    return setting


def _is_table(scope: Scope, name: str) -> bool:
    return name in scope.of_kind("embedding")


def _size(scope: Scope, value: t.Expr) -> int | str:
    if not isinstance(value, t.Number | t.Name | t.Binary):
        raise ValueError("a size")
    size = size_of(scope, value)
    if size is None:
        raise ValueError("")
    return size


def _prior(scope: Scope, node: t.Expr, what: str) -> m.Law | None:
    """The law of each weight by itself: on the reals, reading nothing that stands in a plate."""
    entry = distributions().get(node.function.id) if isinstance(node, t.Call) else None
    if entry is not None and (entry.event_dim or "real" not in (entry.support, *entry.other_supports)):
        message = f"each weight is a real number, and `{entry.name}` is no law on these"
        scope.problems.add("V512", node.span, message, "not a law on single reals", help="write `Normal(0, 1)`")
        return None
    return resolve_law(scope, Context(owner=what), node, Target(what, Type("real"), node.span))


def _flows(scope: Scope, node: t.Net, net: m.Net) -> None:
    """What no layers in this order could do: a sequence where there is none left, an embedding of numbers."""
    for problem in trunk_problems(net):
        span = problem.stage.span if problem.stage else node.trunk[-1].span
        cause = (node.name.span, "in this net")
        scope.problems.add("V513", span, problem.message, "does not fit here", cause=cause, help=problem.help)
