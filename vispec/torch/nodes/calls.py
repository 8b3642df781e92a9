"""Nets and kernels: what is called with tensors whose own axes come last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vispec.catalog import distributions
from vispec.program.axis import Axis
from vispec.program.node import Call, Node, Part
from vispec.torch.nets.words import identifier
from vispec.torch.nodes.laws import in_place, lead_dims, sampler_of, shape_of, with_events
from vispec.torch.nodes.writer import ONE, PLAIN, Writer, parted
from vispec.torch.text.code import Attribute, Code, Global, Slot, attribute, call, listed, method, number, text
from vispec.torch.text.layout import Value, aligned

KINDS: dict[str, Callable[[Writer, Call], Value]] = {}
"""How calls are written that are no plain ones of nets and kernels; other files of this room add theirs."""


UNSAID = frozenset({"mode", "site", "symbols", "means", "heads", "behind"})
"""Settings of a call that are for other readers than the callee."""


def _call(w: Writer, node: Call) -> Value:
    """All arguments aligned by the axes that are none's own; those come last."""
    if node.kind in KINDS:
        return KINDS[node.kind](w, node)
    values = [(with_events(w, given, own), own, keyword) for given, own, keyword in node.given]
    dims = lead_dims([(value, own) for value, own, _ in values])
    placed, named = list[Code](), dict[str, Code]()
    for value, own, keyword in values:
        code = aligned(w.tensor(value), (*dims, *own))
        if keyword:
            named[identifier(keyword) if node.kind == "net" else keyword] = code
        else:
            placed.append(code)
    named |= {name: setting(w, value) for name, value in node.settings if name not in UNSAID}
    if node.kind == "kernel.total":  # of a sum under the algebra of a query
        placed.insert(0, text("total"))
    if node.kind == "net" and dict(node.settings).get("mode") == "next":
        placed.insert(0, text("kept"))
    return Value(call(callee(node), *placed, **named), dims)


def _divergence(w: Writer, node: Call) -> Value:
    """Of two laws as torch knows them, in float64: where concentrations are large, it is a small difference of large terms."""
    values = [(w.tensor(w.real(with_events(w, given, own))), own) for given, own, _ in node.given]
    dims = lead_dims(values)
    # of one shape each: torch's divergence of bits looks for certain ones by masks of either law
    codes = [method(w.full(value, (*dims, *own)).code, "double") for value, own in values]
    told = dict(node.settings)
    q, p = (distributions()[name].torch_class for name in node.name.split(":"))
    laws = [
        call(f"torch.distributions.{law}", **dict(zip(told[names], part, strict=True)))
        for law, names, part in ((q, "q_names", codes[: told["of_q"]]), (p, "p_names", codes[told["of_q"] :]))
    ]
    found = call("torch.distributions.kl_divergence", *laws)
    return Value(method(found, "to", attribute(ONE, "dtype")), dims)


def _law(w: Writer, node: Call) -> Value:
    """What a caller asks of a law, and of its log-density and distribution function at a value: `of(law, log_density, cdf)`."""
    log_density, cdf, (at, events, _), *params = [(with_events(w, given, own), own, name) for given, own, name in node.given]
    dims = lead_dims([(at, events), *((value, own) for value, own, _ in params)])
    entry = distributions()[node.name] if node.name else None
    if entry is None:  # a value
        draw = w.full(w.tensor(params[0][0]), dims).code
        law = call(Code((w.kernel("told.predict", "Drawn"),)), Code(("lambda: ", *draw.pieces), 0), text("True"))
    elif entry.torch_class is not None:
        law = call(f"torch.distributions.{entry.torch_class}", **{name: in_place(w, x, own, dims) for x, own, name in params})
        law = method(law, "expand", Code((shape_of(w, dims),)))
    else:
        codes = [(name, w.full(w.tensor(w.real(value)), (*dims, *own)).code) for value, own, name in params]
        draw = sampler_of(w, entry, codes)
        draw = draw if codes else method(draw, "expand", *(w.extent(axis) for axis in (*dims, *events)))
        sure = () if codes else (text("True"),)
        law = call(Code((w.kernel("told.predict", "Drawn"),)), Code(("lambda: ", *draw.pieces), 0), *sure)
    told = [aligned(value, dims) for value, _, _ in (log_density, cdf)]
    return Value(call(text("of"), law, *told), dims)


def callee(node: Call) -> Code:
    """self.net, self.net.method by its mode, or a kernel, whose name says its file: "vispec.kernels.sums.lookup:columns"."""
    if node.kind == "module":
        return Code((Attribute("module", node.name),))
    if node.kind == "net":
        mode = dict(node.settings).get("mode", "whole")
        method = {"whole": "", "prefix": ".prefixes"}.get(mode, f".{mode}")
        return Code((Attribute("net", node.name), *([method] if method else [])))
    module, _, name = node.name.partition(":")
    return Code((Global(name, module),))


def setting(w: Writer, value: Any) -> Code:
    """A plain value of Python; sizes as the module keeps them."""
    if isinstance(value, Node):
        return w.value(value).code
    if isinstance(value, Axis):
        return w.extent(value)
    if isinstance(value, tuple) and not any(isinstance(each, str) for each in value):
        return listed(setting(w, each) for each in value)
    return text(repr(value)) if not isinstance(value, int | float) else number(value)


def _part(w: Writer, node: Part) -> Value:
    """One output: the call itself where it has no other, else a name among those that its line gives."""
    source = w.values[node.source]
    output = node.source.outputs[node.index]
    dims = (*source.dims, *output.own)
    if not parted(node.source):
        return Value(source.code, dims, output.dtype)
    return Value(Code((Slot(node),)), dims, output.dtype)


KINDS |= {"divergence": _divergence, "law": _law}
PLAIN |= {Call: _call, Part: _part}
