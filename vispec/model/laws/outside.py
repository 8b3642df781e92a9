"""A parameter outside its domain: what is wrong with it, and the edit that mends it without making it another number."""

from vispec.catalog import Distribution
from vispec.model import model as m
from vispec.model.names.scope import Scope
from vispec.model.values.conform import domain_fits
from vispec.model.values.elements import new_plate, one_each
from vispec.model.values.intervals import INF, REAL, Interval
from vispec.model.values.ranges import COMPARISONS, range_of
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
    if domain not in LINKS and domain != "count":
        return this, label, None
    found = range_of(scope, value)
    kind = "" if value.type.domain == "real" else f" `{value.type}`"
    whole = "" if domain != "count" or found.whole else ", and may not be whole"
    lies = f": it lies in {found}{whole}" if found != REAL else ""
    help = "; ".join(filter(None, (_kept(scope, domain, value), _changed(scope, domain, value))))
    label = _miss(found, domain) or label
    return f"this{kind} {label}{lies}" if label != f"not `{domain}`" else f"{this}{lies}", label, help


def _miss(found: Interval, domain: str) -> str:
    """By which end a range leaves a domain, where it does by one."""
    if domain == "positive" and found.never_negative:
        return "can be 0"
    if domain == "unit" and found.never_negative:
        return "can be above 1"
    if domain in ("positive", "count") and found.low > -INF:
        return "can be below 0" if found.whole or domain == "positive" else ""
    return ""


def _kept(scope: Scope, domain: str, value: m.Expression) -> str:
    """What keeps the model as it is: another declaration, or a cast."""
    declared = _declared(scope, domain, value)
    if isinstance(value, m.NetCall) and declared:
        return declared
    cast = f"write `{domain}(...)` around it if it surely is: that is checked, and changes nothing"
    return f"{declared}, or {cast}" if declared else cast


def _changed(scope: Scope, domain: str, value: m.Expression) -> str | None:
    """What is another model, and is said to be."""
    if domain == "positive" and range_of(scope, value).never_negative:
        return f"{_above_zero(scope, value)}, is another model"
    if domain == "unit" and isinstance(value, m.Apply) and value.function == "/":
        return f"a share `a / (a + b)` needs nothing; `{LINKS[domain]}(...)` around it is another model"
    return f"`{LINKS[domain]}(...)` around it is another model" if domain in LINKS else None


def _declared(scope: Scope, domain: str, value: m.Expression) -> str | None:
    """The declaration to change, where the value is a parameter, data that is given, or the head of a net."""
    if isinstance(value, m.NetCall):
        return f"declare the head of the net as `{domain}`"
    symbol = scope.symbols.get(value.name) if isinstance(value, m.Ref | m.Select | m.All) else None
    if symbol is None or (symbol.kind != "parameter" and not _is_given(symbol.node)):
        return None
    inner = f"[{', '.join(map(str, value.type.shape))}]" if value.type.shape else ""
    return f"declare `{symbol.name}` as `{domain}{inner}`" + (", if it is" if symbol.kind == "variable" else "")


def text(scope: Scope, value: m.Expression) -> str:
    """The expression as it is written."""
    return scope.source.text[value.span.start : value.span.end]


def literal_numbers(value: m.Expression) -> tuple[int | float, ...]:
    """The entries of a list of numbers written out; none where it is anything else."""
    items = value.items if isinstance(value, m.Stack) else ()
    numbers = tuple(item.value for item in items if isinstance(item, m.Const))
    return numbers if len(numbers) == len(items) else ()


def _is_given(node: t.Node) -> bool:
    return isinstance(node, t.Variable) and node.role == "given"


def _above_zero(scope: Scope, value: m.Expression) -> str:
    shown = text(scope, value)
    truth = isinstance(value, m.Apply) and value.function in COMPARISONS | {"and", "or", "not"}
    if truth or len(shown) > 30 or "\n" in shown:
        return "a number above 0 added, as in `(...) + 0.001`"
    return f"a number above 0 added, as in `{shown} + 0.001` or `{shown} + 1`"


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
    if range_of(scope, value).never_negative:
        kept = _kept(scope, "simplex", value)
        share = "divided by its sum, as in `w / sum(w)`, it is another vector, which sums to 1"
        return f"this `{value.type}` cannot be shown to sum to 1", "may not sum to 1", f"{kept}; {share}"
    return this, "not `simplex`", f"{_kept(scope, 'simplex', value)}; {_changed(scope, 'simplex', value)}"


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
