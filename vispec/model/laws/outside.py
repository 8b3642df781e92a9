"""A parameter outside its domain: what is wrong with it, and the edit that mends it without making it another number."""

from vispec.catalog import Distribution
from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.values.applying import COMPARISONS
from vispec.model.values.conform import domain_fits
from vispec.model.values.elements import new_plate, one_each
from vispec.model.values.signs import literal_numbers, never_negative, text
from vispec.syntax import tree as t

Said = tuple[str, str, str | None]
"""What the value is, the words at the caret, and the help."""
LINKS = {"positive": "softplus", "unit": "sigmoid", "simplex": "softmax"}
LABELS = frozenset({"category", "token"})


def outside_domain(scope: Scope, entry: Distribution, name: str, value: m.Expression) -> None:
    """Report the value, or those branches of a choice that are to blame."""
    domain = entry.params[name]
    branches = (value.then, value.otherwise) if isinstance(value, m.Conditional) else ()
    wrong = [branch for branch in branches if not domain_fits(scope, branch, domain)]
    for branch in wrong:
        outside_domain(scope, entry, name, branch)
    if not wrong:
        this, label, help = _said(scope, domain, value)
        message = f"`{name}` of `{entry.name}` must be `{domain}`, and {this}"
        scope.problems.add("V408", value.span, message, label, help=help)


def _said(scope: Scope, domain: str, value: m.Expression) -> Said:
    this, label = f"this is `{value.type}`", f"not `{domain}`"
    if isinstance(value, m.Const):
        return f"this is {value.value}", label, None
    if value.type.domain in LABELS:
        return this, label, _number_for(scope, domain, value)
    if domain == "simplex":
        return _no_simplex(scope, value)
    kind = "" if value.type.domain == "real" else f" `{value.type}`"
    if domain == "positive" and never_negative(scope, value):
        return f"this{kind} can be 0", "can be 0", _above_zero(scope, value)
    if domain == "unit" and never_negative(scope, value):
        help = "write a share as `a / (a + b)`; `sigmoid(...)` around the value changes it"
        return f"this{kind} can be above 1", "can be above 1", _declared(scope, domain, value) or help
    return this, label, _link(domain, value)


def _link(domain: str, value: m.Expression) -> str | None:
    """The function that takes any number into the domain."""
    if domain not in LINKS:
        return None
    net = f", or declare the head of the net as `{domain}`" if isinstance(value, m.NetCall) else ""
    return f"write `{LINKS[domain]}(...)` around it{net}"


def _declared(scope: Scope, domain: str, value: m.Expression) -> str | None:
    """The declaration to change, where the value is a parameter, data that is given, or the head of a net."""
    if isinstance(value, m.NetCall):
        return f"declare the head of the net as `{domain}`"
    symbol = scope.symbols.get(value.name) if isinstance(value, m.Ref | m.Select | m.All) else None
    if symbol is None or (symbol.kind != "parameter" and not _is_given(symbol.node)):
        return None
    inner = f"[{', '.join(map(str, value.type.shape))}]" if value.type.shape else ""
    return f"declare `{symbol.name}` as `{domain}{inner}`" + (", if it is" if symbol.kind == "variable" else "")


def _is_given(node: t.Node) -> bool:
    return isinstance(node, t.Variable) and node.role == "given"


def _above_zero(scope: Scope, value: m.Expression) -> str:
    shown = text(scope, value)
    truth = isinstance(value, m.Apply) and value.function in COMPARISONS | {"and", "or", "not"}
    if truth or len(shown) > 30 or "\n" in shown:
        return "add a number above 0 to it: `(...) + 0.001`"
    return f"add a number above 0: `{shown} + 0.001`, or `{shown} + 1`"


# ---- a simplex is wanted


def _no_simplex(scope: Scope, value: m.Expression) -> Said:
    numbers, this = literal_numbers(value), f"this is `{value.type}`"
    if numbers and min(numbers) < 0:
        return f"this holds {min(numbers)}", f"{min(numbers)} is below 0", "write numbers from 0 up that sum to 1"
    if numbers:
        total = f"{sum(numbers):.7g}"
        return f"these numbers sum to {total}", f"sum to {total}, not 1", "change them to sum to 1; `1 / 3` is a number too"
    if isinstance(value, m.Element):
        symbol = scope.symbols.get(getattr(value.base, "name", ""))
        return this, "one entry, not `simplex`", one_each(scope, symbol, value.at) or "leave the index out"
    if not value.type.shape and not value.type.star:
        unit = value.type.domain in ("unit", "bit")
        return this, "a single number", "probabilities of two values are `[1 - p, p]`" if unit else "write a vector"
    if never_negative(scope, value):
        edits = (_declared(scope, "simplex", value), "write `softmax(log(...))` around it, which divides by its sum")
        return f"this `{value.type}` cannot be shown to sum to 1", "may not sum to 1", ", or ".join(filter(None, edits))
    return this, "not `simplex`", _link("simplex", value)


# ---- a number is wanted, and there is a label


def _number_for(scope: Scope, domain: str, value: m.Expression) -> str:
    """How a label becomes a number: as the index of a plate, or by a number for each of its values."""
    name = text(scope, value) if isinstance(value, m.Ref) else "z"
    if domain == "count" and isinstance(value, m.Ref) and _is_given(scope.symbols[value.name].node):
        return f"declare `{name}` as `count`"
    k = new_plate(scope)
    plate = f"plate {k}[{value.type.card}]: param w"
    if domain == "count":
        return f"an index is a number too: `{plate} : real`, `{name} : index[{k}] ~ Categorical(softmax(w[*]))`"
    one = domain + {"simplex": "[K]", "ordered": "[K]", "cholesky": "[D]"}.get(domain, "")
    return f"look one up for each of its values: `{plate} : {one}`, and here `w[{name}]`"
