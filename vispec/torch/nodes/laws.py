"""Densities, draws and noise of the catalog's laws."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from vispec.catalog import BOUNDS, Distribution, distributions
from vispec.program.axis import Axis, ordered
from vispec.program.node import Decide, Density, Draw, Node, Noise
from vispec.torch.nodes.writer import ONE, PLAIN, Writer
from vispec.torch.text.code import Args, Code, Global, call, listed, method, text
from vispec.torch.text.layout import Value, aligned, merged


def source_of(function: Callable[..., Any]) -> Global:
    """A function of an entry, which the module carries."""
    module = inspect.getmodule(function)
    assert module is not None
    return Global(function.__name__, module.__name__)


def _density(w: Writer, node: Density) -> Value:
    entry = distributions()[node.law]
    value = with_events(w, node.value, node.events)
    params = [(name, with_events(w, param, own), own) for name, param, own in node.params]
    dims = lead_dims([(value, node.events), *((each, own) for _, each, own in params)])
    x = aligned(w.tensor(value), (*dims, *node.events))
    codes = [(name, in_place(w, each, own, dims)) for name, each, own in params]
    if entry.modifier is not None:
        return Value(law_of_law(entry, entry.modifier.kernel, codes, x), dims)
    if entry.kernel is not None:
        return Value(call(source_of(entry.kernel), x, *(code for _, code in codes)), dims)
    law = call(f"torch.distributions.{entry.torch_class}", **dict(codes))
    return Value(method(law, "log_prob", x), dims)


def law_of_law(entry: Distribution, function: Callable[..., Any], params: Sequence[tuple[str, Code]], *first: Code) -> Code:
    """A call of a modifier's kernel or sampler: the law inside by its kernels, its parameters, and the bounds by name."""
    assert entry.law is not None
    kernels = (entry.law.kernel, entry.law.log_cdf, entry.law.log_survival)
    inside = listed(Code((Global(each.__name__, each.__module__),)) for each in kernels if each is not None)
    own = [code for name, code in params if name not in BOUNDS.values()]
    named = {word: code for word, bound in BOUNDS.items() for name, code in params if name == bound}
    if entry.law.support in ("count", "bit"):
        named["whole"] = text("True")
    return call(Code((Global(function.__name__, function.__module__),)), *first, inside, *own, **named)


def with_events(w: Writer, node: Node, events: Sequence[Axis]) -> Value:
    """A value with its event axes all there."""
    value = w.value(node)
    if any(axis not in value.dims for axis in events):
        value = w.full(value, (*(axis for axis in value.dims if axis not in events), *events))
    return value


def lead_dims(values: Sequence[tuple[Value, Sequence[Axis]]]) -> tuple[Axis, ...]:
    """The dimensions before those of one draw."""
    return merged(tuple(axis for axis in value.dims if axis not in own) for value, own in values)


def in_place(w: Writer, value: Value, own: Sequence[Axis], dims: Sequence[Axis]) -> Code:
    """A param as a kernel takes it: a tensor of real numbers, its own axes last."""
    return aligned(w.tensor(w.real(value)), (*dims, *own))


def _draw(w: Writer, node: Draw) -> Value:
    """By torch.distributions; the draw of each site is one of its own."""
    params = [(name, with_events(w, param, own), own) for name, param, own in node.params]
    if distributions()[node.law].torch_class is None:
        return _sampled(w, node, params, ordered(node.axes - {*node.events}))
    return drawn(w, node, params)


def drawn(w: Writer, node: Draw, params: Sequence[tuple[str, Value, tuple[Axis, ...]]]) -> Value:
    """By the law of torch with these params."""
    entry, around = distributions()[node.law], ordered(node.axes - {*node.events})
    codes = {name: in_place(w, each, own, around) for name, each, own in params}
    law = call(f"torch.distributions.{entry.torch_class}", **codes)
    shared = {axis for _, each, own in params for axis in each.dims if axis not in own}
    if shared != {*around}:
        law = method(law, "expand", Code((shape_of(w, around),)))
    code = method(law, "rsample" if node.pathwise else "sample")
    if node.pathwise and entry.once and w.graph:
        code = call(Code((w.kernel("draws.once", "differentiable_once"),)), code)
    if node.kind == "int":
        code = code if entry.support == "index" else method(code, "long")
    elif node.kind == "bool":
        code = method(code, "bool")
    return Value(code, (*around, *node.events), node.kind)


def _sampled(w: Writer, node: Draw, params: Sequence[tuple[str, Value, tuple[Axis, ...]]], around: tuple[Axis, ...]) -> Value:
    """By the entry's own function, of parameters that all have the whole shape."""
    entry = distributions()[node.law]
    code = sampler_of(w, entry, [(name, w.full(w.tensor(w.real(each)), (*around, *own)).code) for name, each, own in params])
    if entry.modifier is not None:
        code = code if node.kind == "real" else method(code, "long" if node.kind == "int" else "bool")
        return Value(code, (*around, *node.events), node.kind)
    if not params:  # one draw, for all elements
        code = method(code, "expand", *(w.extent(axis) for axis in (*around, *node.events)))
    return Value(code if node.pathwise else method(code, "detach"), (*around, *node.events), node.kind)


def sampler_of(w: Writer, entry: Distribution, params: Sequence[tuple[str, Code]]) -> Code:
    """A call of the function that draws from it."""
    if entry.modifier is not None:
        return law_of_law(entry, entry.modifier.sampler, params)
    assert entry.sampler is not None
    return call(source_of(entry.sampler), *(code for _, code in params))


def shape_of(w: Writer, axes: Sequence[Axis]) -> Args:
    """Sizes as a tuple."""
    items = tuple(w.extent(axis) for axis in axes)
    return Args("(", items, ",)" if len(items) == 1 else ")")


def _noise(w: Writer, node: Noise) -> Value:
    code = (
        method(ONE, "new_empty", *(w.extent(axis) for axis in node.order))
        if node.order
        else method(ONE, "new_empty", text("()"))
    )
    return Value(
        method(code, {"normal": "normal_", "uniform": "uniform_", "exponential": "exponential_"}[node.law]), node.order
    )


def _decide(w: Writer, node: Decide) -> Value:
    return decided(w, node, [(name, with_events(w, param, own), own) for name, param, own in node.params])


def decided(w: Writer, node: Decide, params: Sequence[tuple[str, Value, tuple[Axis, ...]]]) -> Value:
    """By the rule, of torch's law."""
    entry = distributions()[node.law]
    around = (*node.order, *ordered(node.axes - {*node.events, *node.order}))
    codes = {name: in_place(w, each, own, around) for name, each, own in params}
    law = call(f"torch.distributions.{entry.torch_class}", **codes)
    law = method(law, "expand", Code((shape_of(w, around),)))
    decide = Code((w.kernel("told.decide", "decide"),))
    return Value(call(decide, law, text("rule"), text(str(node.read))), (*around, *node.events), node.kind)


PLAIN |= {Density: _density, Draw: _draw, Decide: _decide, Noise: _noise}
