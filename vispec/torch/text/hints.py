"""What a value is called: as the spec calls it, else by what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from keyword import iskeyword

from vispec.program.axis import Axis
from vispec.program.node import (
    Call,
    Concat,
    Contract,
    Density,
    Draw,
    Input,
    Link,
    Map,
    Merge,
    Node,
    Noise,
    Part,
    Pick,
    Position,
    Reduce,
    Rename,
    Scan,
    Shift,
    Spread,
    Stop,
    Structure,
)
from vispec.torch.nodes.writer import Writer
from vispec.torch.text.names import Names

JOINT = {"joint_sum": "log_sum", "joint_values": "log_joint", "joint_count": "count"}
"""Of calls for joint values."""


def word(axis: Axis) -> str:
    """An axis in the name of a value."""
    return "".join(c if c.isalnum() or c == "_" else "_" for c in axis.hint).strip("_")


class Hints:
    """Gives names to values in the order of their lines."""

    def __init__(self, w: Writer, names: Names, steps: Mapping[Node, str] | None = None):
        self.w, self.names, self.steps = w, names, steps or {}
        self.given: dict[Node, str] = {}

    def fresh(self, node: Node, known: Mapping[Node, str]) -> str:
        hint = self.steps.get(node) or self.w.program.hints.get(node)
        hint = hint or self.hint(node, known)
        if isinstance(node, Part) and isinstance(node.source, Call) and self.before_link(node):
            hint = f"{hint}_raw"
        self.given[node] = hint
        return self.names.fresh(self.given[node])

    def before_link(self, node: Node) -> bool:
        """Whether a link function alone reads it, whose value then has the name."""
        readers = self.w.read_by.get(node, set())
        linked = [isinstance(each, Link) or (isinstance(each, Map) and each.op == "softplus") for each in readers]
        return linked == [True] and not any(each in self.w.program.hints for each in readers)

    def stem(self, node: Node, known: Mapping[Node, str]) -> str:
        """What a value is about, "" where that has no name."""
        if node in self.w.program.hints:
            return self.w.program.hints[node]
        if node in self.given:
            return self.given[node].removeprefix("raw_")
        match node:
            case Input():
                return node.name.removeprefix("raw_")
            case Rename(arg) | Spread(arg) | Stop(arg) | Map("real" | "int" | "bool" | "neg", (arg,)):
                return self.stem(arg, known)
        return self.hint(node, known) if isinstance(node, Pick | Link | Density | Part | Position | Shift) else ""

    def hint(self, node: Node, known: Mapping[Node, str]) -> str:
        stem = lambda each: self.stem(each, known)  # noqa: E731
        match node:
            case Input(name):
                return name
            case Position(axis):
                return f"at_{word(axis)}"
            case Map("lt", (Position(axis), _)):
                return f"inside_{word(axis)}"
            case Map():
                return self.of_map(node, known)
            case Link(op, arg):
                name = (stem(arg) or "value").removeprefix("raw_").removesuffix("_raw")
                return {"log_softmax": f"log_{name}", "softmax": f"{name}_prob"}.get(op, name)
            case Reduce("log_sum_exp" | "total", _, over):
                return f"log_sum_{word(over[-1])}"
            case Reduce(op, arg, over):
                name = stem(arg)
                return f"{name}_over_{word(over[-1])}" if name and op == "sum" else f"{op}_{word(over[-1])}"
            case Scan(op, arg):
                return f"{op}_before"
            case Pick(table):
                name = stem(table) or "value"
                return name if name.endswith("_at") else f"{name}_at"
            case Shift(arg):
                return f"{stem(arg) or 'value'}_before"
            case Density(_, value):
                return f"log_{stem(value) or 'density'}"
            case Draw(site):
                return site
            case Noise(site):
                return f"noise_{site}"
            case Part(source, at):
                if isinstance(source, Call) and source.kind in JOINT:
                    return JOINT[source.kind]
                if isinstance(source, Call) and source.kind != "net":
                    return "kl" if source.kind == "divergence" else first_word(source.name.rpartition(":")[2])
                name = getattr(source, "name", "state")
                heads = dict(source.settings).get("heads") if isinstance(source, Call) else None
                return name if len(source.outputs) == 1 else f"{name}_{heads[at] if heads else at + 1}"
            case Structure(kind):
                return f"log_{kind}"
            case Concat():
                return "joined"
            case Contract():
                return "product"
            case Rename(arg) | Spread(arg) | Stop(arg) | Merge(arg):
                return stem(arg) or "value"
        return "value"

    def of_map(self, node: Map, known: Mapping[Node, str]) -> str:
        stems = [found for each in node.operands if (found := self.stem(each, known))]
        first = stems[0] if stems else ""
        match node.op:
            case "real" | "int" | "bool" | "neg":
                return first or "value"
            case "log":
                return f"log_{first or 'value'}"
            case "exp":
                return first.removeprefix("log_") or "value"
            case "sigmoid":
                return f"{first or 'value'}_prob"
            case "softplus":
                return first.removesuffix("_raw") or "value"
            case "add" | "sub" if sum(each.startswith("log_") for each in stems) > 1:
                return "log_joint"
            case "where":
                return self.stem(node.operands[1], known) or "value"
            case "eq" | "lt" | "le" | "and" | "or" | "not":
                return "test"
            case "add" | "mul" | "div" | "sub":
                return {"add": "total", "mul": "product", "div": "ratio", "sub": "difference"}[node.op]
        return f"{node.op}_{first}" if first else node.op


def first_word(name: str) -> str:
    """Of a kernel's name; all of one that begins with a word of Python's."""
    found = name.partition("_")[0]
    return name if iskeyword(found) else found
