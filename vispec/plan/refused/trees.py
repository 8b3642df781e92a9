"""Trees over the elements of a plate: what is read through a head, and what the root has to offer there.

A head h of `tree[i]` is 0 for the root and h for element h - 1, and exactly one element hangs from the root. `x[head]` is the
element that the head points at. At the root it is a symbol of its own where x is a token or a category that a net takes: the
net's table has one row more than x has values. Where x is a number it is 0. Elsewhere the root has nothing to offer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vispec.catalog import distributions
from vispec.diagnostics import Diagnostic, Label
from vispec.model.model import Conditional, Draw, Expression, Law, Model, NetCall, Ref, Select, Variable
from vispec.model.walk import grown_trees, law_parts, walk
from vispec.trunk import table_of

ROOT_SYMBOL = frozenset({"token", "category"})
ROOT_ZERO = frozenset({"real", "bit", "count"})


def by_tree(e: Expression) -> bool:
    """Whether an expression is an element that a head points at."""
    return isinstance(e, Select) and any(index.type.domain == "tree" for _, index in e.by)


def below_root(e: Expression) -> bool:
    """Whether a condition says that the head is not the root."""
    return isinstance(e, Select) and e.below_root


def may_be_root(e: Expression, model: Model) -> bool:
    """Whether a token or category may be the root's own symbol, one past its values."""
    if e.type.domain not in ROOT_SYMBOL:
        return False
    if by_tree(e):
        return not below_root(e)
    if isinstance(e, Ref) and e.name in model.let:
        return may_be_root(model.let[e.name].value, model)
    return isinstance(e, Conditional) and any(may_be_root(part, model) for part in (e.then, e.otherwise))


def law_problems(variable: Variable, model: Model) -> Iterator[Diagnostic]:
    """What has one value for a whole plate has one law, and is given, observed or summed out exactly."""
    name, labels = variable.name, variable.type.along is not None
    what, several = ("labels", "labels") if labels else (variable.type.domain, f"{variable.type.domain}s")
    if variable.law is not None and not isinstance(variable.law, Draw):
        message = f"`{name}` is {'' if labels else 'a '}{what}, and a choice between laws on {several} is not compiled"
        yield Diagnostic("V702", message, Label(variable.law.span), help="give it one law")
    elif labels and isinstance(variable.law, Draw) and distributions()[variable.law.distribution].support != "labels":
        message = f"`{name}` is labels along `{variable.type.along}`, and this is a law on one of them"
        inner = replace(variable.type, along=None)
        help_ = f"declare it inside `{variable.type.along}`, as `{inner}`"
        yield Diagnostic("V702", message, Label(variable.law.span), help=help_)
    if name in grown_trees(model) and variable.law is not None:
        yield from _own_heads(variable, law_parts(variable.law), model)
    for guide in model.guide:
        if guide.name == name:
            message = f"a guide for the {what} `{name}` is not compiled"
            yield Diagnostic("V702", message, Label(guide.span), help=f"leave it out: {several} are summed out exactly")


def _own_heads(variable: Variable, parts: Sequence[Expression], model: Model) -> Iterator[Diagnostic]:
    """What an element decides is known of it alone, not of it and its head."""
    lets, todo = dict(model.let), [*parts]
    while todo:
        for e in walk(todo.pop()):
            read = getattr(e, "name", None)
            if read == variable.name and variable.law is not None:
                message = f"what an element decides reads its own head, `{read}`, which is not compiled"
                help = "let it read the element and what stands around it"
                yield Diagnostic("V702", message, Label(e.span, "its head"), (Label(variable.law.span, "decided here"),), help)
                return
            if read in lets:
                todo.append(lets.pop(read).value)


def root_problems(model: Model) -> Iterator[Diagnostic]:
    """Elements read through a head where the root has nothing to offer."""
    laws: list[Law] = [v.law for v in model.variables if v.law is not None]
    roots = [part for law in laws for part in law_parts(law)] + [let.value for let in model.lets]
    for e in roots:
        yield from _at_root(e, model, any(e is let.value for let in model.lets))
    yield from _in_tables(model, [call for e in roots for call in walk(e) if isinstance(call, NetCall)])


def _in_tables(model: Model, calls: Sequence[NetCall]) -> Iterator[Diagnostic]:
    """A table by name has a row for each value, and none for the root."""
    for call in calls:
        tables = [table for stage in model.net[call.net].trunk if (table := table_of(stage))]
        for argument in call.args:
            table = next((table for table in tables if table.rows == argument.type.card), None)
            if table is not None and may_be_root(argument, model):
                where = (Label(table.span, f"a row for each of {table.rows} values"),)
                help = "give the net a table of its own, which has a row for the root: `embed(16)`"
                yield Diagnostic("V713", f"`{table.name}` has no row for the root", Label(argument.span), where, help)


def _at_root(e: Expression, model: Model, allowed: bool) -> Iterator[Diagnostic]:
    """allowed: whether the value goes into a net, or into a let whose own readers are looked at."""
    known = below_root(e) and e.type.domain in ROOT_SYMBOL
    if by_tree(e) and e.type.domain not in ROOT_ZERO and not ((allowed or known) and e.type.domain in ROOT_SYMBOL):
        help = "give it to a net: its table has a row for the root; or say what holds there, `... if head == 0 else ...`"
        message = f"there is no {e.type.domain} at the root"
        yield Diagnostic(
            "V713", message, Label(e.span, "may be read at the root"), help=help if e.type.domain in ROOT_SYMBOL else None
        )
    elif isinstance(e, Ref) and not allowed and may_be_root(e, model):
        message = f"there is no {e.type.domain} at the root"
        yield Diagnostic(
            "V713",
            message,
            Label(e.span, "may be read at the root"),
            (Label(model.let[e.name].span, "read through a head here"),),
        )
    for child in e.children:
        branch = isinstance(e, Conditional) and child is not e.test
        yield from _at_root(child, model, isinstance(e, NetCall) or (branch and allowed))
