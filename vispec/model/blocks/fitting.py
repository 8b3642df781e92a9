"""`fit:`: the entries of the language, what each may be, and schedules."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from vispec.model import model as m
from vispec.model.blocks.kept import read_fixed, read_weight
from vispec.model.names.scope import Scope
from vispec.model.problems import did_you_mean, head, listed
from vispec.model.values.literals import is_number, is_whole, literal
from vispec.syntax import tree as t

Check = Callable[[object], bool]


def _above(value: object) -> bool:
    return is_number(value) and value > 0  # type: ignore[operator]


def _share(value: object) -> bool:
    return is_number(value) and 0 <= value < 1  # type: ignore[operator]


def _inside(value: object) -> bool:
    return is_number(value) and 0 < value < 1  # type: ignore[operator]


def _count(value: object) -> bool:
    return is_whole(value)


def _from_zero(value: object) -> bool:
    return is_whole(value, 0)


NUMBERS: Mapping[str, tuple[Check, str]] = {
    "lr": (_above, "a number above 0"),
    "epochs": (_count, "a whole number of at least 1"),
    "batch": (_count, "a whole number of at least 1"),
    "accumulate": (_count, "a whole number of at least 1"),
    "clip": (_above, "a number above 0"),
    "warmup": (_from_zero, "a whole number of steps"),
    "patience": (_count, "a whole number of at least 1"),
    "valid": (_share, "a number from 0 to below 1"),
    "seed": (_from_zero, "a whole number of at least 0"),
    "restarts": (_count, "a whole number of at least 1"),
    "cycles": (_count, "a whole number of at least 1"),
    "free_bits": (_above, "a number of nats above 0"),
    "supervise": (_above, "a number above 0"),
    "label_smoothing": (_share, "a share from 0 to below 1"),
}
CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "decay": {"none": (), "linear": ("to",), "cosine": ("to",), "inverse_sqrt": ("to",)},
    "average": {"none": (), "last": ("epochs",), "ema": ("decay",)},
    "precision": {"float32": (), "float64": (), "bf16": ()},
}
"""Entries that are words, each with its options, the first of which may stand without a name."""
AVERAGES: Mapping[str, tuple[Check, str]] = {
    "last": (_count, "`last(n)`, of a whole number of epochs: `last(4)`"),
    "ema": (_inside, "`ema(d)`, of a number between 0 and 1: `ema(0.999)`"),
}
ANNEALED = ("kl", "temperature")
KEYS = ("optimizer", *NUMBERS, *CHOICES, "anneal", "offset", "fixed", "weight")
REPEATED = ("anneal", "offset")
OPTIMIZERS: Mapping[str, tuple[str, ...]] = {
    "adadelta": ("lr", "rho", "eps", "weight_decay"),
    "adafactor": ("lr", "beta2_decay", "d", "weight_decay"),
    "adagrad": ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"),
    "adam": ("lr", "betas", "eps", "weight_decay", "amsgrad", "decoupled_weight_decay"),
    "adamax": ("lr", "betas", "eps", "weight_decay"),
    "adamw": ("lr", "betas", "eps", "weight_decay", "amsgrad"),
    "asgd": ("lr", "lambd", "alpha", "t0", "weight_decay"),
    "auto": (),
    "lbfgs": ("lr", "max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size", "line_search_fn"),
    "muon": ("lr", "weight_decay", "momentum", "nesterov", "eps", "ns_steps"),
    "nadam": ("lr", "betas", "eps", "weight_decay", "momentum_decay", "decoupled_weight_decay"),
    "newton": (),
    "radam": ("lr", "betas", "eps", "weight_decay", "decoupled_weight_decay"),
    "rmsprop": ("lr", "alpha", "eps", "weight_decay", "momentum", "centered"),
    "rprop": ("lr", "etas", "step_sizes"),
    "sgd": ("lr", "momentum", "dampening", "weight_decay", "nesterov"),
}
"""Optimiser → its options, the first of which may stand without a name."""
WORDS: Mapping[str, tuple[str, ...]] = {"line_search_fn": ("strong_wolfe", "none")}
"""Options that are words, with or without quotation marks."""


def read_fit(
    scope: Scope, entries: Sequence[t.FitEntry], points: AbstractSet[str] = frozenset()
) -> tuple[m.FitEntry | m.Schedule, ...]:
    """Every entry of `fit:` that is right. A call's settings without a name get theirs: `adam(0.01)` has lr, `x(21)` has by.
    points: latents that are point estimates."""
    found: list[m.FitEntry | m.Schedule] = []
    first: dict[str, t.FitEntry] = {}
    for entry in entries:
        key = entry.key.id
        if key not in KEYS:
            help = did_you_mean(key, KEYS, f"`fit:` has {listed(KEYS)}")
            scope.problems.add("V612", entry.key.span, f"`fit:` has no entry `{key}`", "not an entry", help=help)
            continue
        mark = f"{key} {_subject(entry.value)}" if key in REPEATED else key
        if mark in first:
            cause = (first[mark].key.span, "the first one")
            scope.problems.add(
                "V614", entry.key.span, f"`{key}` is given twice", "the second one", cause=cause, help="leave one of them out"
            )
            continue
        first[mark] = entry
        if key == "fixed":
            result = read_fixed(scope, entry, points)
        elif key == "weight":
            result = read_weight(scope, entry)
        elif isinstance(entry.value, t.Amount):
            result = _amount(scope, entry, entry.value)
        elif isinstance(entry.value, t.Schedule):
            result = _schedule(scope, entry, entry.value)
        elif isinstance(entry.value, t.Names):
            _bad(scope, entry.value, key, "a single value")
            result = None
        else:
            result = _entry(scope, entry, entry.value)
        if result is not None:
            _divides(scope, result)
            found.append(result)
    return tuple(found)


def _divides(scope: Scope, entry: m.FitEntry | m.Schedule) -> None:
    """V613: one row has no part to hold out."""
    single = any(plate.implicit for plate in scope.plates.values())
    if single and isinstance(entry, m.FitEntry) and entry.key == "valid" and entry.value:
        message = "no part of the data can be held out: a spec without a data plate describes one data set"
        help = "open a plate around the model, `plate n:`, or give another data set: --valid FILE"
        scope.problems.add("V613", entry.span, message, "of one row", help=help)


def _subject(value: t.Expr | t.Schedule | t.Names | t.Amount) -> str:
    name = value.name if isinstance(value, t.Schedule) else value.function if isinstance(value, t.Call) else None
    return name.id if name else ""


def _bad(scope: Scope, node: t.Node, key: str, wanted: str, help: str | None = None) -> None:
    scope.problems.add("V613", node.span, f"`{key}` must be {wanted}", "this value", help=help)


def _schedule(scope: Scope, entry: t.FitEntry, node: t.Schedule) -> m.Schedule | None:
    key = entry.key.id
    if key != "anneal":
        help = f"write `{key} : ...` with a single value, or `anneal : kl from 0 to 1 over 10 epochs`"
        scope.problems.add("V615", node.span, f"`{key}` has no schedule", "a schedule", help=help)
        return None
    if node.name.id not in ANNEALED:
        message = f"`{node.name.id}` cannot be annealed"
        help = did_you_mean(node.name.id, ANNEALED, f"{listed(ANNEALED)} can")
        scope.problems.add("V615", node.name.span, message, "has no weight", help=help)
        return None
    values = [_plain(scope, part, word) for part, word in ((node.start, "from"), (node.stop, "to"), (node.over, "over"))]
    start, stop, over = values
    if start is None or stop is None or over is None:
        return None
    if over <= 0:
        _bad(scope, node.over, "over", "a number above 0")
        return None
    return m.Schedule(key, node.name.id, start, stop, over, node.unit, entry.span)


def _plain(scope: Scope, node: t.Expr, word: str) -> float | None:
    try:
        value = literal(node)
    except ValueError:
        value = None
    if is_number(value) and isinstance(value, int | float) and value >= 0:
        return float(value)
    _bad(scope, node, word, "a number of at least 0")
    return None


def _entry(scope: Scope, entry: t.FitEntry, node: t.Expr) -> m.FitEntry | None:
    key = entry.key.id
    if key == "offset":
        return _offset(scope, entry, node)
    if key == "anneal":
        _bad(scope, node, key, "a schedule", "write `kl from 0 to 1 over 10 epochs`")
        return None
    if key == "optimizer" or key in CHOICES:
        return _chosen(scope, entry, node)
    return _number(scope, entry, node)


def _amount(scope: Scope, entry: t.FitEntry, node: t.Amount) -> m.FitEntry | None:
    """`4096 tokens`."""
    if entry.key.id != "batch":
        _bad(scope, node, entry.key.id, "without a unit", "`batch : 4096 tokens` alone has one")
        return None
    found = _number(scope, entry, node.number)
    return None if found is None else m.FitEntry(found.key, found.value, (("unit", node.unit),), found.span)


def _number(scope: Scope, entry: t.FitEntry, node: t.Expr) -> m.FitEntry | None:
    key = entry.key.id
    good, wanted = NUMBERS[key]
    try:
        value = literal(node)
    except ValueError:
        value = None
    if isinstance(value, float) and value.is_integer() and good(int(value)):
        value = int(value)
    if not good(value):
        _bad(scope, node, key, wanted)
        return None
    return m.FitEntry(key, value, (), entry.span)


def _chosen(scope: Scope, entry: t.FitEntry, node: t.Expr) -> m.FitEntry | None:
    """A word with settings of its own, such as an optimiser or a decay."""
    key = entry.key.id
    table = OPTIMIZERS if key == "optimizer" else CHOICES[key]
    name = node.function if isinstance(node, t.Call) else node
    if not isinstance(name, t.Name) or name.id not in table:
        help = did_you_mean(name.id, table) if isinstance(name, t.Name) else None
        _bad(scope, name, key, f"one of {listed(table, 'or')}", help)
        return None
    call = _call(scope, node, table[name.id]) if isinstance(node, t.Call) else ()
    if call is not None and name.id in AVERAGES and not AVERAGES[name.id][0](dict(call).get(table[name.id][0])):
        _bad(scope, node, key, AVERAGES[name.id][1])
        return None
    return None if call is None else m.FitEntry(key, name.id, call, entry.span)


def _call(scope: Scope, node: t.Call, options: Sequence[str]) -> tuple[tuple[str, m.Setting], ...] | None:
    name = node.function.id
    pairs = [(option, value, value.span) for option, value in zip(options[:1], node.args, strict=False)]
    pairs += [("", value, value.span) for value in node.args[1 if options else 0 :]]
    pairs += [(keyword.name, keyword.value, head(keyword.span, keyword.name)) for keyword in node.kwargs]
    found: dict[str, m.Setting] = {}
    good = True
    for option, value, span in pairs:
        if option not in options or option in found:
            twice = option in found
            help = (
                "leave one out"
                if twice
                else did_you_mean(option, options, f"it has {listed(options)}" if options else f"write `{name}` alone")
            )
            message = (
                f"`{option}` of `{name}` is given twice"
                if twice
                else f"`{name}` has no option {f'`{option}`' if option else 'here'}"
            )
            scope.problems.add("V613", span, message, "not expected", help=help)
            good = False
            continue
        try:
            setting = literal(value)
        except ValueError:
            setting = None
        if option in WORDS:
            word = value.id if isinstance(value, t.Name) else value.value if isinstance(value, t.String) else ""
            setting = None if word == "none" else word
            if word not in WORDS[option]:
                wanted = listed(WORDS[option], "or")
                scope.problems.add("V613", value.span, f"`{option}` of `{name}` must be {wanted}", "this value")
                good = False
        elif (option in ("lr", "eps") and not _above(setting)) or isinstance(setting, str | None):
            wanted = "a number above 0" if option in ("lr", "eps") else "a number, or true or false"
            scope.problems.add("V613", value.span, f"`{option}` of `{name}` must be {wanted}", "this value")
            good = False
        found[option] = setting
    return tuple(found.items()) if good else None


def _offset(scope: Scope, entry: t.FitEntry, node: t.Expr) -> m.FitEntry | None:
    """`x(21)`: the data writes 21 for the first entry of x."""
    help = "write the variable and its first number: `offset : x(21)`"
    if not isinstance(node, t.Call) or len(node.args) != 1 or node.kwargs:
        _bad(scope, node, "offset", "a variable with a number", help)
        return None
    name = node.function
    symbol = scope.symbols.get(name.id)
    if symbol is None and name.id not in scope.poisoned:
        data = [s.name for s in scope.symbols.values() if isinstance(s.node, t.Variable) and s.node.role != "latent"]
        scope.problems.add(
            "V101", name.span, f"nothing is called `{name.id}`", "not declared", help=did_you_mean(name.id, data)
        )
        return None
    if symbol is None or not isinstance(symbol.node, t.Variable) or symbol.node.role == "latent":
        _bad(scope, name, "offset", "for a variable that the data holds", help)
        return None
    try:
        value = literal(node.args[0])
    except ValueError:
        value = None
    if not isinstance(value, int) or isinstance(value, bool):
        _bad(scope, node.args[0], "offset", "a whole number", help)
        return None
    return m.FitEntry("offset", name.id, (("by", value),), entry.span)
