"""How the kernels are called that sum over joint values: see joint_sums.py."""

from __future__ import annotations

from vispec.program.node import Call
from vispec.torch.nodes.calls import KINDS
from vispec.torch.nodes.writer import DEVICE, Writer
from vispec.torch.text.code import TERM, Code, binary, call, listed, method, number, text
from vispec.torch.text.layout import Value

ENUMERATION = "sums.enumeration"


def _count(w: Writer, node: Call) -> Value:
    """How many joint values the longest row has; too many are an error."""
    told = dict(node.settings)
    given = {each: w.value(each).code for each, _, _ in node.given}
    longest = {axis: given[axis.lengths] for axis in told["plates"] if axis.lengths in given}
    codes = [
        call("max", call("int", method(longest[axis], "max")), number(1)) if axis in longest else w.extent(axis)
        for axis in told["plates"]
    ]
    latents = binary(TERM, codes[0], *(("*", code) for code in codes[1:])) if len(codes) > 1 else codes[0]
    values = w.extent(told["values"])
    code = call(w.kernel(ENUMERATION, "number_of_joint_values"), latents, values, text("self.max_joint_values"))
    return Value(code, (), "int")


def _context(w: Writer, node: Call) -> tuple[Code, Code]:
    """The method, and what it reads."""
    codes = [w.full(w.tensor(w.value(each)), own).code for each, own, _ in node.given]
    return Code((f"self.{node.name}",)), listed(codes)


def _bytes(w: Writer, node: Call) -> Code:
    """What one joint value keeps for the gradient."""
    told = dict(node.settings)
    factors = [*map(w.extent, told["rows"]), binary(TERM, number(12), ("*", w.value(told["width"]).code))]
    return binary(TERM, factors[0], *(("*", each) for each in factors[1:])) if len(factors) > 1 else factors[0]


def _sum(w: Writer, node: Call) -> Value:
    count, parameters = w.value(dict(node.settings)["count"]).code, text("self.parameters")
    log_joint, context = _context(w, node)
    if dict(node.settings)["draws"]:
        log_joint = call(w.kernel(ENUMERATION, "same_draws"), log_joint)
    kernel = w.kernel(ENUMERATION, "enumerated_log_sum")
    return Value(call(kernel, log_joint, context, count, _bytes(w, node), text("self.memory"), parameters), ())


def _values(w: Writer, node: Call) -> Value:
    size = call(w.kernel(ENUMERATION, "values_at_once"), _bytes(w, node), text("self.memory"), DEVICE)
    count = w.value(dict(node.settings)["count"]).code
    return Value(call(w.kernel(ENUMERATION, "every_log_joint"), *_context(w, node), count, size, DEVICE), ())


KINDS |= {"joint_count": _count, "joint_sum": _sum, "joint_values": _values}
