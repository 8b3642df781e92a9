"""initialise: parameters start at what a batch shows of their laws."""

from __future__ import annotations

from collections.abc import Mapping

from vispec.catalog import distributions
from vispec.lower.outputs import Outputs
from vispec.lower.starts.make import Starts, make_starts
from vispec.program.axis import Axis
from vispec.program.node import Call, Node
from vispec.torch.members.members import BATCH, Members
from vispec.torch.members.parameters import CONSTRAINTS, stored
from vispec.torch.nodes.calls import KINDS
from vispec.torch.nodes.laws import source_of
from vispec.torch.nodes.writer import DEVICE, ONE, Writer
from vispec.torch.text.code import Args, Attribute, Code, Global, call, index, listed, method, number, text
from vispec.torch.text.layout import Value, aligned

KERNELS = "vispec.kernels.starts"
SCALES = "vispec.kernels.layers.standardise"


def initialise(m: Members, o: Outputs) -> None:
    """The method, if something can start at what the data shows."""
    starts = make_starts(o.f)
    if starts is None:
        return
    told = ["Start parameters at what the batch shows of their laws."] if starts.targets else []
    told += ["Clusters stand in for latents."] if starts.clustered else []
    told += ["Latents that the batch does not show are guessed."] if starts.guessed else []
    told += ["Standardise by it."] if starts.scales else []
    doc = " ".join(told)
    learn = Code((Global("learn_scales", SCALES), "(self, batch)"))
    if starts.scales:
        m.need([(SCALES, "learn_scales")])
    if not starts.targets:
        m.text(
            ["@torch.no_grad()", f"def initialise(self, {BATCH}) -> None:", f'    """{doc}"""', "    learn_scales(self, batch)"]
        )
        return

    def statements(codes: Mapping[str, Code]) -> list[tuple[str, Code]]:
        return [*assignments(m, starts, codes), *([("", learn)] if starts.scales else [])]

    m.program("initialise", starts.program, doc, returns=statements, result="None", orders=starts.orders)
    m.texts[-1].insert(0, "@torch.no_grad()")


def assignments(m: Members, starts: Starts, codes: Mapping[str, Code]) -> list[tuple[str, Code]]:
    """`self.x = value`, in the parameter's domain; noise in log-odds or logits."""
    found = list[tuple[str, Code]]()
    for target in starts.targets:
        value = codes[target.value]
        if target.param is None:
            found.append(("", method(codes[target.bias], "copy_", value)))
            continue
        param = target.param
        raw = stored(param, m.names)
        if param.type.domain in CONSTRAINTS:
            found.append((f"self.{m.names.attribute('property', param.name)} = ", value))
        else:
            found.append((f"{raw}[...] = ", value))
        if target.apart:
            found.append((f"{raw} += ", text(f"torch.randn_like({raw})")))
    return found


# ---- its calls


def _given(node: Call, kind: str) -> list[tuple[Node, tuple[Axis, ...]]]:
    return [(given, own) for given, own, name in node.given if name == kind]


def _full(w: Writer, node: Call, kind: str) -> list[Code]:
    """The arguments of a kind, with all of their axes."""
    return [w.full(w.tensor(w.value(given)), own).code for given, own in _given(node, kind)]


def _by_group(w: Writer, node: Call) -> Value:
    entry = distributions()[node.name]
    assert entry.start is not None
    ((value, order),) = _given(node, "value")
    plates = order[: dict(node.settings)["plates"]]
    at = [aligned(w.value(given), plates) for given, _ in _given(node, "at")]
    now = {kind: _full(w, node, kind)[0] for _, _, kind in node.given if kind.startswith("now ")}
    held = listed([now.get(f"now {name}", text("None")) for name in entry.params])
    told = [w.value(given).code for given, _ in _given(node, "size")]
    told += [w.full(w.tensor(w.value(given)), own).code for given, own in _given(node, "told")]
    named = {kind: code for kind in ("inside", "among") for code in _masks(w, node, kind, plates)}
    several = len(plates) > 1 or "inside" in named
    elements = w.full(w.tensor(w.value(value)), order).code
    count = [number(len(plates))] if several else []
    function = Global("by_group_among" if several else "by_group", KERNELS)
    code = call(function, Code((source_of(entry.start),)), elements, *count, listed(at), held, *told, **named)
    return Value(code if len(node.results) > 1 else index(code, ["0"]))


def _masks(w: Writer, node: Call, kind: str, plates: tuple[Axis, ...]) -> list[Code]:
    return [aligned(w.tensor(w.value(given)), plates) for given, _ in _given(node, kind)]


def _clusters(w: Writer, node: Call) -> Value:
    count = w.value(dict(node.settings)["count"]).code
    numbers, shares = (listed(_full(w, node, kind), "[]") for kind in ("numbers", "shares"))
    named = {kind: code for kind in ("inside", "known") for code in _full(w, node, kind)}
    several = [shares] if _given(node, "shares") else []
    return Value(call(Global("clusters", KERNELS), count, numbers, *several, **named))


def _frequencies(w: Writer, node: Call) -> Value:
    settings = dict(node.settings)
    (value,), (inside,) = _full(w, node, ""), _full(w, node, "inside")
    size = w.value(settings["size"]).code
    return Value(call(Global("frequencies", KERNELS), value, size, number(settings["lead"]), inside, ONE))


def _guess(w: Writer, node: Call) -> Value:
    (own, _) = node.results[0]
    sizes = tuple(w.extent(axis) for axis in own)
    shape = Code((Args("(", sizes, ",)" if len(sizes) == 1 else ")"),))
    return Value(call("torch.randint", w.value(dict(node.settings)["count"]).code, shape, device=DEVICE))


def _bias(w: Writer, node: Call) -> Value:
    """A head's part of the bias of its net's last layer."""
    settings, (own, _) = dict(node.settings), node.results[0]
    first, last = (w.value(settings[name]).code for name in ("first", "last"))
    at = Code((*first.pieces, ":", *last.pieces)) if own else first
    code = index(Code((Attribute("net", node.name), ".out.bias")), [at])
    return Value(code if len(own) < 2 else method(code, "view", *map(w.extent, own)))


KINDS |= {"by_group": _by_group, "clusters": _clusters, "frequencies": _frequencies, "guess": _guess, "bias": _bias}
