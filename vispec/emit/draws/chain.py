"""Draws along a chain, each given the one before: a loop over its elements, with only what reads the past inside."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from vispec.emit.draws.kept_laws import Branch, Parameter, appended, keep, stack
from vispec.emit.laws.expressions import expression, plain
from vispec.emit.value import Value
from vispec.emit.writer import Writer
from vispec.model.model import Draw, Expression, Law, Model, Past, Ref, Then, Variable
from vispec.model.walk import children, law_parts, walk
from vispec.plan.axes import key, past
from vispec.plan.estimate import source_of

DrawOne = Callable[[Writer, Variable, Draw], Value]


def draw_along(w: Writer, group: Sequence[Variable], chain: str, draw: DrawOne) -> None:
    """Draw the variables of a group element by element; then each is bound, all its elements stacked.

    draw: one element of a variable, from one law, with the writer of the loop."""
    index = w.fresh(chain)
    inner = loop_writer(w, group, chain, index)
    names = {variable.name for variable in group}
    steps = {variable.name: w.fresh(f"{variable.name}_steps") for variable in group}
    axes = {v.name: tuple(axis for axis in w.sort(w.scope.drawn[v.name]) if axis != chain) for v in group}
    for variable in group:
        law = source_of(variable.name, w.model)
        for lag in lags(law, w.model, variable.name):
            code = f"{steps[variable.name]}[{index} - {lag}]"
            inner.bound[past(variable.name, lag)] = Value(code, axes[variable.name], variable.type.shape)
    for variable in group:
        law = source_of(variable.name, w.model)
        for part in law_parts(law) if law is not None else ():
            hoist(w, inner, part, names)
    inner.taken |= w.taken
    body: list[str] = []
    kept: list[Parameter] = []
    for variable in group:
        law = source_of(variable.name, w.model)
        assert law is not None
        found = one_step(inner, variable, law, index, draw)
        body += [*found.lines, f"{steps[variable.name]}.append({found.now.code})"]
        inner.bound[variable.name] = found.now
        w.drawn_by[variable.name] = found.law
        kept += found.kept
    w.lines += [f"{name} = []" for name in (*steps.values(), *(each.steps for each in kept))]
    w.line(f"for {index} in range({w.plate_size(chain)}):")
    w.lines += [f"    {line}" for line in body]
    w.taken |= inner.taken
    for variable in group:
        whole = w.sort({*axes[variable.name], chain})
        code = f"torch.stack({steps[variable.name]}, {whole.index(chain)})"
        w.bound[variable.name] = w.let(variable.name, code, whole, variable.type.shape)
    stack(w, kept, chain)


def loop_writer(w: Writer, group: Sequence[Variable], chain: str, index: str) -> Writer:
    """A writer for the body of the loop: it knows what is computed outside, and the element that it is at."""
    inner = Writer(w.model, w.scope, w.order, w.needs)
    inner.taken, inner.bound, inner.origin = set(w.taken), dict(w.bound), w.origin
    w.plate_size(chain)
    inner.cache = {k: v for k, v in w.cache.items() if isinstance(k, tuple) and k and k[0] in ("data", "size", "code")}
    inner.at, inner.samples = {**w.at, chain: index}, w.samples
    return inner


@dataclass(frozen=True)
class Drawn:
    """The lines that draw one element, and the draw; the law of all elements, and the parameters that are kept for it."""

    lines: list[str]
    now: Value
    law: Law
    kept: list[Parameter]


def one_step(w: Writer, variable: Variable, law: Law, index: str, draw: DrawOne) -> Drawn:
    """One element of a variable, by a branch for each law of a `then`."""
    laws = law.laws if isinstance(law, Then) else (law,)
    before, taken = w.cache, w.taken
    branches: list[Branch] = []
    for each in laws:
        assert isinstance(each, Draw)
        w.lines, w.cache, w.taken = [], dict(before), set(taken)  # every branch gives the draw the same name
        branches.append(Branch(each, w.lines, w.cache, w.taken, draw(w, variable, each)))
    w.taken = taken.union(*(branch.taken for branch in branches))
    whole, kept = keep(w, variable, branches, before)
    lines: list[str] = []
    for step, branch in enumerate(branches):
        added = {each.steps: appended(w, each, step) for each in kept}
        w.lines = branch.lines
        found = w.body(" ".join([branch.now.code, *added.values()]))
        found += [f"{name}.append({code})" for name, code in added.items()]
        if len(laws) > 1:
            test = "else" if step == len(laws) - 1 else f"{'if' if step == 0 else 'elif'} {index} == {step}"
            found = [f"{test}:", *(f"    {line}" for line in found)]
        lines += found
    w.cache = before
    return Drawn(lines, branches[-1].now, whole, kept)


def hoist(w: Writer, inner: Writer, e: Expression, names: set[str]) -> None:
    """Compute outside the loop whatever does not read the group, for all elements at once."""
    if not reads(e, names, w.model):
        value = expression(w, e)
        inner.cache[key(e)] = inner.element(plain(w, e) if value.form == "raw" else value)
        return
    lets = {let.name: let.value for let in (*w.model.lets, *w.model.guide_lets)}
    inside = (lets[e.name],) if isinstance(e, Ref) and e.name in lets else children(e)
    for child in inside:
        hoist(w, inner, child, names)


def reads(e: Expression, names: Collection[str], model: Model) -> bool:
    lets = {let.name: let.value for let in (*model.lets, *model.guide_lets)}
    for part in walk(e):
        name = getattr(part, "name", None)
        if name in names or (isinstance(name, str) and name in lets and reads(lets[name], names, model)):
            return True
    return False


def lags(law: Law | None, model: Model, name: str) -> list[int]:
    """How far back any draw of the model reads a variable; at least one step."""
    laws = [law] if law is not None else []
    laws += [guide.law for guide in model.guide] + [v.law for v in model.variables if v.law is not None]
    values = [part for each in laws for part in law_parts(each)] + [let.value for let in (*model.lets, *model.guide_lets)]
    return sorted({1} | {p.lag for value in values for p in walk(value) if isinstance(p, Past) and p.name == name})
