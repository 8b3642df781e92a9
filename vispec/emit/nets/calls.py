"""Calls of nets: each once per distinct input, over the axes of its arguments alone."""

from collections.abc import Callable
from dataclasses import replace

from vispec.emit.laws.forms import real
from vispec.emit.value import Form, Value, align, union
from vispec.emit.writer import Writer, identifier
from vispec.model.model import Expression, Net, NetCall
from vispec.model.nets.means import ends_in_mlp_of_mean
from vispec.model.types import INTEGER_DOMAINS, Type
from vispec.model.walk import prefix_of
from vispec.plan.axes import SAMPLES, key
from vispec.torch.nets.classes import counts_of, mask_of
from vispec.torch.nets.uses import uses

Compile = Callable[[Writer, Expression], Value]

RAW: dict[str, Form] = {"positive": "raw", "unit": "logit", "simplex": "logits", "cholesky": "raw", "ordered": "raw"}


def call_net(w: Writer, e: NetCall, expression: Compile, plain: Compile) -> Value:
    """The raw output of one head."""
    net = w.model.net[e.net]
    heads = w.cache.get(("heads", e.net, key(e.args)))
    if heads is None:
        heads = dict(zip((name for name, _ in net.heads), run(w, net, e, expression, plain), strict=True))
        w.cache["heads", e.net, key(e.args)] = heads
    assert isinstance(heads, dict)
    return heads[e.head]


def run(w: Writer, net: Net, e: NetCall, expression: Compile, plain: Compile) -> list[Value]:
    """Emit the call; every head as a Value in its raw form."""
    args = [argument(w, a, t, expression, plain) for a, (_, t) in zip(e.args, net.args, strict=True)]
    prefix = next((found for a in e.args if (found := prefix_of(a))), None)
    rows = distinct_rows(w, net, e, args) if prefix is None and not net.random else None
    names = [identifier(f"{net.name}_{name}" if name else net.name) for name, _ in net.heads]
    if rows is not None:
        words, row = rows
        outs = emit_call(w, net, names, f"self.{identifier(net.name)}({words.code})", ("distinct",))
        return [w.let(v.code, f"{v.code}[{row.code}]", row.axes, v.event, v.form) for v in outs]
    w.needs.net_modes.setdefault(net.name, set()).add("prefix" if prefix else "whole")
    if (outs := many_means(w, net, names, args)) is not None:
        return outs
    if net.random and w.sample_count is not None:
        args = [for_each_sample(w, a, w.sample_count) for a in args]
    axes = union([*args, *(a.mask for a in args if a.mask is not None)], w.order)
    codes = [align(a, axes) for a in args]
    for (name, _), value in zip(net.args, args, strict=True):
        if value.mask is not None:
            codes.append(f"{mask_of(name)}={align(value.mask, axes)}")
    if prefix is None and axes == args[0].axes:
        codes += [f"{counts_of(name)}={counts(w, net, args[0]).code}" for name in uses(net, w.model).counted]
    method = f"self.{identifier(net.name)}" + (".prefixes" if prefix else "")
    starred = [t for _, t in net.heads if t.star]
    if starred or prefix:
        over = prefix.plate if prefix else next(str(a.event[0]) for a, (_, t) in zip(args, net.args, strict=True) if t.star)
        outs = emit_call(w, net, names, f"{method}({', '.join(codes)})", (*axes, over))
        if over in w.at:
            return [w.element(v) for v in outs]
        if w.sort((*axes, over)) != (*axes, over):
            target = w.sort((*axes, over))
            at = target.index(over)
            outs = [w.let(v.code, f"{v.code}.movedim({len(axes)}, {at})", target, v.event, v.form) for v in outs]
        return outs
    return emit_call(w, net, names, f"{method}({', '.join(codes)})", axes)


def counts(w: Writer, net: Net, words: Value) -> Value:
    """How often each value is in a sequence, for the net and for the sum that reads it too."""
    known = w.cache.get(("counts", words.code))
    if known is None:
        ((_, type),) = net.args
        assert type.card is not None
        function = w.needs.kernel("vispec.kernels.layers.counts", "shared_counts")
        mask = "None" if words.mask is None else align(words.mask, words.axes)
        code = f"{function}({words.code}, {w.dim(type.card)}, {mask}, self.one)"
        known = w.let(f"{words.code}_counts", code, words.axes, (type.card,))
        w.cache["counts", words.code] = known
    assert isinstance(known, Value)
    return known


def many_means(w: Writer, net: Net, names: list[str], args: list[Value]) -> list[Value] | None:
    """A net of the mean of what an enumerated mask chooses: what comes before the mean is run once."""
    mask = args[0].mask if len(args) == 1 and not net.random else None
    if mask is None or not ends_in_mlp_of_mean(net):
        return None
    if not any(mask.axes == (*args[0].axes, latent) for latent in w.scope.joint):
        return None
    w.needs.net_modes[net.name].add("elements")
    name = identifier(net.name)
    elements = w.let(f"{name}_elements", f"self.{name}.elements({args[0].code})", args[0].axes, ("T + 1", "H"))
    return emit_call(w, net, names, f"self.{name}.of_elements({elements.code}, {mask.code})", mask.axes)


def for_each_sample(w: Writer, value: Value, samples: str) -> Value:
    """The value once for every draw of random weights."""
    if SAMPLES in value.axes:
        return value
    code = f"{value.code}.expand({samples}, *{value.code}.shape)"
    return w.let(value.code, code, (SAMPLES, *value.axes), value.event, value.form, value.integer)


def argument(w: Writer, a: Expression, declared: Type, expression: Compile, plain: Compile) -> Value:
    """What a net is called with: a number of the spec's text as a tensor, a whole number as the real one that it takes."""
    value = expression(w, a) if a.type.star else plain(w, a)
    whole = declared.domain in INTEGER_DOMAINS
    if not value.scalar:
        return value if whole else real(w, value)
    if whole:
        return w.let("number", f"torch.full((), {value.code}, device=self.one.device)", integer=True)
    return w.let("number", f"self.one * {value.code}")


def emit_call(w: Writer, net: Net, names: list[str], code: str, axes: tuple[str, ...]) -> list[Value]:
    """`a, b = self.net(...)`; the same call is made once."""
    known = w.cache.get(("call", code))
    if isinstance(known, list):
        return [replace(v, axes=axes) for v in known]
    types = [t for _, t in net.heads]
    forms: list[Form] = [RAW.get(t.domain, "value") for t in types]
    hints = [f"{n}_raw" if form == "raw" else n for n, form in zip(names, forms, strict=True)]
    outs = [Value(w.fresh(n), axes, t.shape, form) for n, t, form in zip(hints, types, forms, strict=True)]
    w.line(f"{', '.join(v.code for v in outs)} = {code}", outs[0])
    w.cache["call", code] = outs
    return outs


def distinct_rows(w: Writer, net: Net, e: NetCall, args: list[Value]) -> tuple[Value, Value] | None:
    """For a net of one token from the data: the distinct tokens (U,) and each element's row, else None."""
    if len(args) != 1 or e.args[0].type.domain != "token" or e.args[0].type.star or not args[0].axes:
        return None
    value = args[0]
    known = w.cache.get(("distinct", value.code))
    if known is None:
        function = w.needs.kernel("vispec.kernels.distinct", "distinct")
        words, row = w.fresh(f"{value.code}_words"), w.fresh(f"{value.code}_row")
        w.line(f"{words}, {row} = {function}({value.code})", Value(row, value.axes))
        known = (words, row)
        w.cache["distinct", value.code] = known
    w.needs.net_modes.setdefault(net.name, set()).add("whole")
    assert isinstance(known, tuple)
    return Value(known[0], ("distinct",)), Value(known[1], value.axes)
