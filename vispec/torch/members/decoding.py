"""decode, and for each sequence that ends by a symbol of its own what begins it and what each of its elements takes."""

from __future__ import annotations

from vispec.lower.decode import Decoded
from vispec.lower.outputs import Outputs
from vispec.program.node import Input
from vispec.torch.members.members import BATCH, Members
from vispec.torch.text.names import local

DECODE = ("vispec.kernels.told.decode", "decoded")


def decoding(m: Members, o: Outputs) -> None:
    if not o.decoded:
        return
    parts = {each.variable.name: one(m, o, each) for each in o.decoded}
    first, *others = parts
    of = f', of: str = "{first}"' if others else ""
    several = ", ".join(f'"{name}": ({text})' for name, text in parts.items())
    chosen = f"{{{several}}}[of]" if others else parts[first]
    m.text(
        [
            "@torch.no_grad()",
            "def sequences(",
            f'    self, {BATCH}, n: int, end: int, longest: int | Tensor, rule: str = "greedy"{of}, **how',
            ") -> dict[str, Tensor]:",
            f'    """{" or ".join(parts)} of n rows, element by element up to the symbol `end`; see `decoded`."""',
            f"    rows, begin, steps = {chosen}",
            "    return decoded(rows, begin, steps, batch, n, end, longest, rule, **how)",
        ],
        DECODE,
    )


def one(m: Members, o: Outputs, found: Decoded) -> str:
    """The methods of one sequence, as what decides: the batch's keys that have rows, and the methods."""
    name, told = found.variable.name, found.told
    begin = m.names.attribute("method", f"begin_{name}")
    shared = [f"{', '.join([*map(local, o.shared.orders), '_'])} = self.shared()"] if o.shared and o.shared.orders else []
    arguments, result = ("n: int", BATCH), "dict[str, Tensor]"
    doc = f"What each element of {name} reads, the same at all of them; rows first."
    m.program(begin, found.begin, doc, arguments, "dict", result, found.orders, shared, {found.rows: "n"}, graph=False)
    methods = list[str]()
    for number, program in enumerate(found.steps):
        last = number == len(found.steps) - 1
        methods.append(m.names.attribute("method", f"next_{name}" if last else f"next_{name}_at_{number}"))
        read = {node.name for node in program.nodes() if isinstance(node, Input) and node.source == "argument"}
        kept = [each for each in found.orders if each in read]
        seen = local(told.whole)
        of = ", ".join(f'kept["{each}"]' for each in kept)
        before = [f"{', '.join(map(local, kept))} = {of}"] if kept else []
        before += [f"{told.last} = {seen}[:, -2:-1]"] if told.last in read else []
        before += [f"{each} = {seen}[:, {-1 - lag}]" for lag, each in told.back.items() if each in read]
        before += [f"{told.at} = torch.tensor({seen}.shape[1] - 1, device={seen}.device)"] if told.at in read else []
        doc = f"Log-probabilities of the next element of {name}, which is the last of {seen} and not read."
        told_sizes = {found.rows: f"len({seen})"}
        arguments = ("kept: dict[str, Tensor]", f"{seen}: Tensor")
        orders = {"log_prob": (found.rows, *found.values)}
        m.program(methods[-1], program, doc, arguments, orders=orders, before=before, told=told_sizes, graph=False)
    batch = [node for node in found.begin.nodes() if isinstance(node, Input) and node.source == "batch"]
    rows = tuple(node.name for node in batch if found.rows in node.axes)
    return f"{listed(rows)}, self.{begin}, ({', '.join(f'self.{each}' for each in methods)},)"


def listed(names: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"({quoted}{',' * (len(names) == 1)})"
