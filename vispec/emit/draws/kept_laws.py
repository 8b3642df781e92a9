"""The laws that a loop along a chain drew from, kept: of each parameter a list with its value of each element.

What scores the draws reads these. To call a guide's net again would double its work, and where it has dropout the law that is
scored would not be the one that drew.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vispec.emit.laws.forms import tensor, to_value
from vispec.emit.value import Value, align, paren, union
from vispec.emit.writer import Writer
from vispec.model.model import Draw, Expression, Law, Ref, Then, Variable
from vispec.model.types import MISSING
from vispec.plan.axes import key

Family = tuple[str, tuple[tuple[str, str], ...]]  # a distribution, and the form of each of its parameters


@dataclass(frozen=True)
class Branch:
    """The lines of a loop that draw one element from one law, what is computed there, its names, and the draw."""

    law: Draw
    lines: list[str]
    cache: dict[object, object]
    taken: set[str]
    now: Value


@dataclass(frozen=True)
class Parameter:
    """One parameter along a chain. steps: its list in the loop. bound: what the kept law reads. whole: its name after the loop,
    its axes but for the chain's, event and form. values: in each branch; None where the law there is of another family."""

    steps: str
    bound: str
    whole: Value
    domain: str
    values: tuple[Value | None, ...]


def keep(
    w: Writer, variable: Variable, branches: Sequence[Branch], before: Mapping[object, object]
) -> tuple[Law, list[Parameter]]:
    """The law that all elements were drawn from, and those of its parameters that differ from branch to branch or are computed
    in them. before: what is computed outside the loop. Branches of one family share one law."""
    params = [parameters(w, branch) for branch in branches]
    families = [family(branch.law, found) for branch, found in zip(branches, params, strict=True)]
    kept: list[Parameter] = []
    laws: dict[Family, Draw] = {}
    for each in dict.fromkeys(families):
        members = [branch.law for branch, own in zip(branches, families, strict=True) if own == each]
        args: list[tuple[str, Expression]] = []
        for name, arg in members[-1].args:
            if key(arg) in before and all(key(dict(law.args)[name]) == key(arg) for law in members):
                args.append((name, arg))
                continue
            values = [found[name] if own == each else None for found, own in zip(params, families, strict=True)]
            bound = f"{name} of {variable.name}, {len(kept)}"  # no name of a spec
            kept.append(parameter(w, f"{variable.name}_{name}", bound, arg.type.domain, values))
            args.append((name, Ref(arg.span, arg.type, bound)))
        laws[each] = replace(members[-1], args=tuple(args))
    drawn = tuple(laws[each] for each in families)
    return (drawn[0] if len(laws) == 1 else Then(drawn[0].span, drawn)), kept


def parameters(w: Writer, branch: Branch) -> dict[str, Value]:
    """What a branch drew with; of positive parameters the values themselves, which their draw needs anyway."""
    w.lines, w.cache = branch.lines, branch.cache
    found: dict[str, Value] = {}
    for name, arg in branch.law.args:
        value = branch.cache[key(arg)]
        assert isinstance(value, Value)
        found[name] = to_value(w, value, "positive") if value.form == "raw" and arg.type.domain == "positive" else value
    return found


def family(law: Draw, params: Mapping[str, Value]) -> Family:
    return law.distribution, tuple((name, value.form) for name, value in params.items())


def parameter(w: Writer, hint: str, bound: str, domain: str, values: Sequence[Value | None]) -> Parameter:
    found = [value for value in values if value is not None]
    event = max((value.event for value in found), key=len)
    integer = all(value.integer for value in found)
    whole = Value(hint, union(found, w.order), event, found[-1].form, integer=integer)
    return Parameter(w.fresh(f"{hint}_steps"), bound, whole, domain, tuple(values))


def appended(w: Writer, kept: Parameter, step: int) -> str:
    """Text of what a branch adds to a parameter's list, of the whole shape; where the law is of another family, so that nothing
    reads it, any number in the domain."""
    whole, value = kept.whole, kept.values[step]
    sizes = [w.axis_size(axis) for axis in whole.axes]
    sizes += [w.plate_size(str(dim)) if dim in w.model.plate else w.dim(dim) for dim in whole.event]
    shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
    if value is None:
        fill = MISSING.get(kept.domain, 0.0) if whole.form == "value" else "0.0"
        return f"self.one.new_full({shape}, {fill})"
    if value.scalar:
        return f"self.one.new_full({shape}, {value.code})" if sizes else tensor(w, value)
    code = align(value, whole.axes, len(whole.event))
    if value.integer and not whole.integer:
        code = f"(self.one * {code})"
    fits = value.axes == whole.axes and len(value.event) == len(whole.event)
    return code if fits else f"{paren(code)}.expand({', '.join(sizes)})"


def stack(w: Writer, kept: Iterable[Parameter], chain: str) -> None:
    """After the loop, bind each parameter with all its elements."""
    for each in kept:
        whole = each.whole
        axes = w.sort({*whole.axes, chain})
        code = f"torch.stack({each.steps}, {axes.index(chain)})"
        w.bound[each.bound] = w.let(whole.code, code, axes, whole.event, whole.form, whole.integer)
