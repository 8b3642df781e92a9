"""Expressions as tensors with named axes. Selecting by an enumerated latent renames an axis; it costs nothing."""

from collections.abc import Callable
from dataclasses import replace

from vispec.emit.laws.branches import has_gradient, is_steep, negated, on_branches, taken
from vispec.emit.laws.forms import linked, stem, tensor, to_value, truth
from vispec.emit.laws.functions import FUNCTIONS, OPERATORS
from vispec.emit.laws.reductions import reduce_sequence
from vispec.emit.nets.calls import call_net
from vispec.emit.value import Value, align, base_of, union
from vispec.emit.writer import Writer
from vispec.model.model import (
    All,
    Apply,
    Base,
    Conditional,
    Const,
    Element,
    Evidence,
    Expression,
    For,
    Length,
    NetCall,
    Past,
    Position,
    Prefix,
    Ref,
    Select,
    SizeOf,
    Stack,
    Where,
)
from vispec.plan.axes import enumerated_axis, key, past


def expression(w: Writer, e: Expression) -> Value:
    """The expression's tensor, computed once per method; its numbers may be in any form (see `plain`)."""
    if w.branches:
        return inside_branches(w, e)
    found = w.cache.get(key(e))
    if not isinstance(found, Value):
        around = w.around(e)
        found = COMPILERS[type(e)](w, e) if around is None else w.element(in_front(w, around, e))
        w.cache[key(e)] = found
    return found


def in_front(w: Writer, around: Writer, e: Expression) -> Value:
    """In front of a chain's loop, for all of its elements at once."""
    around.taken |= w.taken
    value = expression(around, e)
    value = plain(around, e) if value.form == "raw" else value
    w.taken |= around.taken
    return value


def inside_branches(w: Writer, e: Expression) -> Value:
    """The same in a branch: what it reads has a gradient only where the branch is taken."""
    known = (key(e), *(branch.code for branch in w.branches))
    found = w.cache.get(known)
    if isinstance(found, Value):
        return found
    if isinstance(e, Apply | Conditional | For | Stack) or reads_into(w, e):
        found = COMPILERS[type(e)](w, e)
    else:
        kept, w.branches = w.branches, ()
        found = expression(w, e)
        w.branches = kept
        found = on_branches(w, found) if has_gradient(w, e.base if isinstance(e, Element) else e) else found
    w.cache[known] = found
    return found


def reads_into(w: Writer, e: Expression) -> bool:
    """Whether it is a let whose own expression can be read in the branches: none of another element of what they vary over."""
    axes = {axis for branch in w.branches for axis in branch.axes}
    match e:
        case Ref(name=name):
            return w.is_let(name)
        case Select(name=name, by=by):
            return w.is_let(name) and not axes & {plate for plate, _ in by}
        case All(name=name, plate=plate):
            return w.is_let(name) and plate not in axes
        case _:
            return False


def plain(w: Writer, e: Expression) -> Value:
    """The expression's values themselves, link functions applied."""
    return to_value(w, expression(w, e), e.type.domain)


def test_of(w: Writer, e: Expression) -> Value:
    """The values of what is tested or compared, truth values as they are."""
    return linked(w, expression(w, e), e.type.domain)


# ---- one function per kind of expression


def _const(w: Writer, e: Const) -> Value:
    return Value(repr(e.value), scalar=True)


def _ref(w: Writer, e: Ref) -> Value:
    return named(w, e.name)


def named(w: Writer, name: str) -> Value:
    """A variable, param or let at its own element."""
    if name in w.bound:
        return w.element(w.bound[name])
    if name in w.scope.enumerated:
        return enumerated(w, name, name)
    if name in w.model.param:
        return w.element(parameter(w, name))
    lets = {let.name: let for let in (*w.model.lets, *w.model.guide_lets)}
    if name in lets:
        return expression(w, lets[name].value)
    return w.known(name)


def enumerated(w: Writer, name: str, axis: str) -> Value:
    """All values of a finite latent along an axis of its own."""
    value = w.position(axis)
    if w.model.variable[name].type.domain == "bit":
        value = w.let(f"{name}_values", f"{value.code}.to(self.one.dtype)", (axis,))
    return replace(value, enumerates=axis)


def parameter(w: Writer, name: str) -> Value:
    """A parameter in the form that it is stored in."""
    from vispec.emit.parameters import stored

    param = w.model.param[name]
    code, form = stored(param)
    return w.arranged(name, Value(code, param.plates, param.type.shape, form), w.sort(param.plates))


def _past(w: Writer, e: Past) -> Value:
    bound = w.bound.get(past(e.name, e.lag))
    if bound is not None:
        return bound
    if e.name in w.scope.enumerated:
        return enumerated(w, e.name, past(e.name, e.lag))
    value = plain(w, Ref(e.span, e.type, e.name))
    return shifted(w, value, e)


def shifted(w: Writer, value: Value, e: Past) -> Value:
    """All elements along a chain, `lag` steps later; the first ones are 0."""
    at = value.axes.index(e.plate)
    size = w.plate_size(e.plate)
    index = ", ".join([":"] * at + [f":{size}"])
    pad = ", ".join(["0, 0"] * (value.rank - at - 1) + [f"{e.lag}, 0"])
    return w.let(f"{e.name}_past", f"F.pad({value.code}, ({pad}))[{index}]", value.axes, value.event, integer=value.integer)


def _all(w: Writer, e: All) -> Value:
    if f"whole {e.name}" in w.bound:
        return w.bound[f"whole {e.name}"]
    whole = w.bound.get("all " + e.name) if e.plate in w.at else None  # along the chain that a loop goes, its whole buffer
    value = whole or named(w, e.name)
    return sequence(w, to_value(w, value, e.type.domain), e.plate)


def sequence(w: Writer, value: Value, plate: str) -> Value:
    """A plate's axis as the first event dimension, and which of its elements count."""
    axes = tuple(axis for axis in value.axes if axis != plate)
    value = plate_last(w, value, plate)
    mask = sequence_mask(w, plate) if w.model.plate[plate].ragged else None
    return replace(value, axes=axes, event=(plate, *value.event), mask=mask)


def _base(w: Writer, e: Base) -> Value:
    return w.bound[base_of(e.draw.name)]


def _evidence(w: Writer, e: Evidence) -> Value:
    """A partial variable's values, or 1 where the data has them and 0 elsewhere."""
    name = e.read.name
    value = w.observed(name) if e.seen else w.known(name)
    if e.seen:
        value = w.let(f"{name}_seen", f"{value.code}.to(self.one.dtype)", value.axes)
    match e.read:
        case All(plate=plate):
            return sequence(w, value, plate)
        case Prefix(plate=plate):
            return replace(sequence(w, value, plate), mask=None)
        case Past():
            return w.element(shifted(w, value, e.read))
        case Ref():
            return w.element(value)


def sequence_mask(w: Writer, plate: str) -> Value:
    """Which elements of a ragged plate count, as the mask of a sequence."""
    inside = w.element(w.inside(plate))
    return replace(inside, axes=tuple(axis for axis in inside.axes if axis != plate), event=(plate,))


def plate_last(w: Writer, value: Value, plate: str) -> Value:
    """The value with a plate's axis just before its event dimensions."""
    axes = (*(axis for axis in value.axes if axis != plate), plate)
    if axes == value.axes:
        return value
    code = f"{value.code}.movedim({value.axes.index(plate)}, {len(axes) - 1})"
    return replace(w.let(f"{stem(value)}_by_{plate}", code, axes, value.event), form=value.form)


def _prefix(w: Writer, e: Prefix) -> Value:
    """The whole sequence; the net is called so that each of its elements reads only those before it."""
    value = _all(w, All(e.span, e.type, e.name, e.plate))
    return replace(value, mask=None)


def _select(w: Writer, e: Select) -> Value:
    value = whole(w, e.name) if any(plate in w.at for plate, _ in e.by) else named(w, e.name)
    if value.enumerates is not None and e.name in w.scope.enumerated:
        return value  # all values; which element's they are is said where they are added up
    latents, indices = dict[str, str](), dict[str, Value]()
    for plate, index in e.by:
        if plate not in value.axes:
            continue  # a let that is the same for all of its elements
        axis = enumerated_axis(index, w.scope)
        if index.type.domain == "tree":
            value = with_root(w, to_value(w, value, e.type.domain), plate, axis or plate, e)
            plate = axis or plate
        if axis == plate:
            continue
        if axis is not None:
            latents[plate] = axis
            continue
        at = as_index(w, plain(w, index))
        if at.event:
            value = mixture_of_rows(w, value, at, e)
        elif at.scalar:
            value = sliced(w, value, plate, at)
        else:
            indices[plate] = at
    axes = (*value.axes, *latents.values())
    if indices or len({*axes}) < len(axes):  # an axis that would be there twice is read along the diagonal
        return gather(w, value, indices | {plate: w.position(axis) for plate, axis in latents.items()})
    for plate, axis in latents.items():
        value = rename(w, value, plate, axis)
    return value


def as_index(w: Writer, value: Value) -> Value:
    """A bit as the number of an element; what is relaxed stays as it is."""
    if value.integer or value.scalar or value.event:
        return value
    return w.let(f"{stem(value)}_index", f"{value.code}.long()", value.axes, integer=True)


def whole(w: Writer, name: str) -> Value:
    """Inside a chain's loop, all that there is of a variable along the chain so far."""
    if name in w.model.param:
        return parameter(w, name)
    return w.bound.get(f"all {name}") or w.bound.get(name) or Writer.data(w, name)


def with_root(w: Writer, value: Value, plate: str, new: str, e: Select) -> Value:
    """The elements of a plate as heads point at them, along the axis `new`: before them the root, a symbol past the values of
    the type, or 0."""
    at = value.axes.index(plate)
    pad = ", ".join(["0, 0"] * (value.rank - at - 1) + ["1, 0"])
    root = f", value={w.dim(e.type.card)}" if value.integer and e.type.card is not None else ""
    axes = tuple(new if axis == plate else axis for axis in value.axes)
    code = f"F.pad({value.code}, ({pad}){root})"
    if axes != w.sort(axes):
        code, axes = f"{code}.movedim({at}, {w.sort(axes).index(new)})", w.sort(axes)
    return w.let(f"{stem(value)}_or_root", code, axes, value.event, integer=value.integer)


def mixture_of_rows(w: Writer, value: Value, weight: Value, e: Select) -> Value:
    """The element that a relaxed index points at: all of them, by its weights."""
    value = to_value(w, value, e.type.domain)
    function = w.needs.kernel("vispec.kernels.draws.relaxed", "mixed")
    return w.let(f"{stem(value)}_at", f"{function}({weight.code}, {value.code})", weight.axes, value.event)


def rename(w: Writer, value: Value, old: str, new: str) -> Value:
    """The axis `old` under the name of a latent that points along it; moved where the order asks for it."""
    names = [new if axis == old else axis for axis in value.axes]
    axes = w.sort(names)
    if list(axes) != names:
        code = f"{value.code}.movedim({names.index(new)}, {axes.index(new)})"
        return w.let(f"{stem(value)}_by_{new.replace(chr(39), '_past')}", code, axes, value.event, value.form, value.integer)
    return replace(value, axes=axes, enumerates=None)


def sliced(w: Writer, value: Value, plate: str, index: Value) -> Value:
    """One element of a plate, the same everywhere."""
    at = value.axes.index(plate)
    code = f"{value.code}[{', '.join([':'] * at + [index.code])}]"
    return w.let(stem(value), code, (*value.axes[:at], *value.axes[at + 1 :]), value.event, value.form, value.integer)


def gather(w: Writer, value: Value, indices: dict[str, Value]) -> Value:
    """value[..., index, ...] along all plates of `indices` at once: one after the other, the first would make a whole table of
    the second's elements for each row. The indices vary over axes of their own, which are matched by name."""
    rest = {axis for axis in value.axes if axis not in indices}
    axes = w.sort(rest.union(*(index.axes for index in indices.values())))
    items = [align(indices[axis] if axis in indices else w.position(axis), axes) for axis in value.axes]
    return w.let(f"{stem(value)}_at", f"{value.code}[{', '.join(items)}]", axes, value.event, value.form, value.integer)


def _element(w: Writer, e: Element) -> Value:
    base, index = plain(w, e.base), as_index(w, plain(w, e.at))
    low, high = e.base.type.low, e.base.type.high
    if low is not None and high is not None:
        code = f"({index.code} - {low}).clamp(0, {high - low})" if low else f"{index.code}.clamp(0, {high})"
        index = w.let(f"{stem(base)}_index", code, index.axes, integer=True)
    if index.scalar:
        code = f"{base.code}[{', '.join(['...', index.code] + [':'] * (len(base.event) - 1))}]"
        return w.let(f"{stem(base)}_at", code, base.axes, base.event[1:])
    if not base.axes:
        return w.let(f"{stem(base)}_at", f"{base.code}[{index.code}]", index.axes, base.event[1:])
    axes = union((base, index), w.order)
    items = [align(w.position(axis), axes) for axis in base.axes] + [align(index, axes)]
    return w.let(f"{stem(base)}_at", f"{base.code}[{', '.join(items)}]", axes, base.event[1:])


def _position(w: Writer, e: Position) -> Value:
    return w.bound.get(f"at {e.plate}") or w.position(e.plate)


def _length(w: Writer, e: Length) -> Value:
    if w.model.plate[e.plate].ragged:
        return w.element(w.lengths(e.plate))
    return Value(w.plate_size(e.plate), scalar=True)


def _size_of(w: Writer, e: SizeOf) -> Value:
    return Value(w.dim(e.name), scalar=True)


def _where(w: Writer, e: Where) -> Value:
    sequence, mask = expression(w, e.sequence), test_of(w, e.mask)
    chosen = w.let(f"{stem(mask)}_chosen", f"{mask.code}.bool()", mask.axes, mask.event)
    if sequence.mask is not None:
        axes = union((sequence.mask, chosen), w.order)
        chosen = w.let("chosen", f"{align(sequence.mask, axes)} & {align(chosen, axes)}", axes, mask.event)
    return replace(sequence, mask=chosen)


def _net_call(w: Writer, e: NetCall) -> Value:
    return call_net(w, e, expression, plain)


def _apply(w: Writer, e: Apply) -> Value:
    if e.function in ("sum", "mean", "max", "min") and e.args[0].type.star:
        return reduce_sequence(w, e, plain)
    args = [(plain if e.function in NUMERIC else test_of)(w, argument) for argument in e.args]
    axes = union(args, w.order)
    rank = max((len(a.event) for a in args), default=0)
    if e.function in OPERATORS:
        if all(a.scalar for a in args):
            return Value(f"({OPERATORS[e.function].format(*(a.code for a in args))})", scalar=True)
        codes = [align(a, axes, rank) for a in args]
        event = max((a.event for a in args), key=len)
        if e.function in ("and", "or", "not"):
            codes = [truth(a, code) for a, code in zip(args, codes, strict=True)]
        whole = all(a.integer or (a.scalar and is_whole(a.code)) for a in args)
        integer = whole and e.function in ("+", "-", "*", "neg")
        if e.function in ARITHMETIC and not integer and not any(is_floating(a) for a in args):
            codes[0] = f"(self.one * {codes[0]})"  # of integers, torch would make single precision
        hint = e.function if e.function.isalpha() else "value"
        found = w.let(hint, OPERATORS[e.function].format(*codes), axes, event, integer=integer)
        return replace(found, truth=e.function in LOGICAL)
    return FUNCTIONS[e.function](w, e, args, axes)


def _conditional(w: Writer, e: Conditional) -> Value:
    test = test_of(w, e.test)
    holds = truth(test, test.code)
    with taken(w, test, holds, is_steep(w, e.then)):
        then = plain(w, e.then)
    with taken(w, test, negated(holds), is_steep(w, e.otherwise)):
        otherwise = plain(w, e.otherwise)
    axes = union((test, then, otherwise), w.order)
    event = max((then.event, otherwise.event), key=len)
    codes = [align(v, axes, len(event)) for v in (then, otherwise)]
    if then.scalar and otherwise.scalar:
        codes[0] = f"self.one * {codes[0]}"
    tested = align(replace(test, event=()), axes, len(event)) if test.axes else test.code
    return w.let("value", f"torch.where({truth(test, tested)}, {codes[0]}, {codes[1]})", axes, event)


ARITHMETIC = frozenset({"+", "-", "*", "/", "^"})
NUMERIC = frozenset({*FUNCTIONS, *ARITHMETIC, "neg"})  # these take the numbers 0 and 1 for a comparison


def is_whole(code: str) -> bool:
    """Whether a number's text is that of an integer."""
    return code.strip("()-").isdigit()


def is_floating(value: Value) -> bool:
    """Whether a value is a tensor of the module's dtype."""
    return not (value.scalar or value.integer or value.truth)


LOGICAL = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or", "not"})


def _for(w: Writer, e: For) -> Value:
    body = plain(w, e.body)
    if e.plate not in body.axes:
        size = w.plate_size(e.plate)
        axes = (*body.axes, e.plate)
        body = w.let("each", f"{tensor(w, body)}.unsqueeze(-1).expand({'-1, ' * len(body.axes)}{size})", axes, body.event)
    body = plate_last(w, body, e.plate)
    mask = w.element(w.inside(e.plate)) if w.model.plate[e.plate].ragged else None
    axes = tuple(axis for axis in body.axes if axis != e.plate)
    value = replace(body, axes=axes, event=(e.plate, *body.event))
    if mask is None:
        return value
    around = w.sort({*axes, *(axis for axis in mask.axes if axis != e.plate)})
    inside = align(replace(mask, axes=tuple(a for a in mask.axes if a != e.plate), event=(e.plate,)), around)
    code = f"{align(value, around)}.masked_fill(~{inside}, -torch.inf)"
    return w.let("each", code, around, value.event)


def _stack(w: Writer, e: Stack) -> Value:
    items = [plain(w, item) for item in e.items]
    axes = union(items, w.order)
    if all(item.scalar for item in items):
        return w.let("vector", f"self.one.new_tensor([{', '.join(i.code for i in items)}])", (), (len(items),))
    parts = ", ".join(align(item, axes) if not item.scalar else f"self.one * {item.code}" for item in items)
    integer = all(item.integer for item in items)
    return w.let("vector", f"torch.stack(torch.broadcast_tensors({parts}), -1)", axes, (len(items),), integer=integer)


COMPILERS: dict[type, Callable[..., Value]] = {
    Const: _const,
    Ref: _ref,
    Past: _past,
    All: _all,
    Prefix: _prefix,
    Select: _select,
    Element: _element,
    Position: _position,
    Length: _length,
    SizeOf: _size_of,
    Where: _where,
    Base: _base,
    Evidence: _evidence,
    NetCall: _net_call,
    Apply: _apply,
    Conditional: _conditional,
    For: _for,
    Stack: _stack,
}
