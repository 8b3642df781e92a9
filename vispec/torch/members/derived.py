"""What the posterior says of derived quantities: means of numbers, probabilities of the values of finite ones."""

from __future__ import annotations

from vispec.lower.asked.derived import Derived
from vispec.lower.outputs import Outputs
from vispec.plan.held.shared import Shared
from vispec.program.node import Input
from vispec.program.program import Program
from vispec.torch.members.members import BATCH, Members
from vispec.torch.text.names import local

QUERIES = "vispec.kernels.told.queries"


def derived(m: Members, o: Outputs) -> None:
    """The methods that posterior asks for them."""
    for each in o.derived:
        if each.kind == "beyond":
            continue
        name = each.let.name
        shape = f"({', '.join(axis.hint for axis in each.order)})"
        arguments, told = [BATCH], {}
        if each.samples is not None:
            arguments, told = [BATCH, "samples: int"], {each.samples: "samples"}
        more = {"told": told, "before": shared(o.shared, each.program), "graph": each.kind == "tilt"}
        if each.kind == "tilt":
            doc = f"log p of each row with `tilt` {shape} times {name} added: its gradient is the posterior mean."
            m.program(method(m, each), each.program, doc, [BATCH, "tilt: Tensor", *arguments[1:]], **more)
            doc = f"A tilt of nothing for {name} {shape}."
            zeros = Program({name: each.zeros}, o.f.frame.hints)  # type: ignore[dict-item]
            m.program(zeros_of(m, each), zeros, doc, orders={name: each.order})
            continue
        if each.kind == "draws":
            arguments, doc = [BATCH, "values: dict[str, Tensor]"], f"{name} {shape} at values of the summed latents."
        else:
            doc = f"The posterior mean of {name} {shape}."
        m.program(method(m, each), each.program, doc, arguments, orders={name: each.order}, **more)


def shared(found: Shared | None, program: Program) -> list[str]:
    """The line that draws what all rows share, where it is read."""
    if found is None or not any(isinstance(node, Input) and node.source == "shared" for node in program.nodes()):
        return []
    return [f"{', '.join([*map(local, found.orders), '_'])} = self.shared()"]


def method(m: Members, each: Derived) -> str:
    stem = {"tilt": "tilted", "draws": "value_of", "value": "mean_of"}[each.kind]
    return m.names.attribute("method", f"{stem}_{each.let.name}")


def zeros_of(m: Members, each: Derived) -> str:
    return m.names.attribute("method", f"tilt_of_{each.let.name}")


def asked(m: Members, o: Outputs) -> list[str]:
    """The lines of posterior that answer for them."""
    lines = list[str]()
    for each in o.derived:
        name = f'"{each.let.name}"'
        if each.kind == "beyond":
            lines += [f"if of == {name}:", f'    raise ValueError("{each.let.name} cannot be told: {each.why} a row")']
            continue
        count = ", samples" if each.samples is not None else ""
        match each.kind:
            case "tilt":
                found = f"mean_of(self.{method(m, each)}, batch, self.{zeros_of(m, each)}(batch){count})"
                m.need([(QUERIES, "mean_of")])
            case "draws":
                drawn = 'lambda: self.posterior(batch, "sample")'
                found = f"mean_at_draws(self.{method(m, each)}, batch, {drawn}, samples)"
                m.need([(QUERIES, "mean_at_draws")])
            case _:
                found = f"self.{method(m, each)}(batch{count})"
        lines += [f"if of == {name}:", f"    return {{{name}: {found}}}"]
    names = ", ".join(each.let.name for each in o.derived)
    return [*lines, "if of:", f'    raise ValueError(f"no derived quantity {{of!r}}; there are {names}")'] if lines else []


def signature(o: Outputs) -> str:
    """The arguments of posterior that are for them."""
    drawn = any(each.kind == "draws" or each.samples is not None for each in o.derived)
    return (', of: str = ""' if o.derived else "") + (", samples: int = 1000" if drawn else "")


def described(o: Outputs) -> list[str]:
    """What the docstring of posterior says of them."""
    if not o.derived:
        return []
    exactly = [each for each in o.derived if each.kind != "draws" and each.samples is None]
    lines = [
        "of: a derived quantity to tell of instead: its posterior mean, or of a finite one the probabilities of its values;",
        "exact." if len(exactly) == len(o.derived) else f"over so many samples{besides(exactly)}.",
    ]
    return lines + [f"{each.let.name}: {each.let.type}, ({', '.join(axis.hint for axis in each.order)})." for each in o.derived]


def besides(exactly: list[Derived]) -> str:
    return f", exact for {', '.join(each.let.name for each in exactly)}" if exactly else ""
