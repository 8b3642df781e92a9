"""The methods of the class, those that a program says and those that only call others; and the posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vispec.factors.frame import element_plates
from vispec.lower.outputs import Outputs
from vispec.program.axis import Axis
from vispec.program.node import Call, Input
from vispec.program.program import Program
from vispec.rewrite.rules import rewrite
from vispec.torch.code import Code, listed
from vispec.torch.function import Method, Returns, method
from vispec.torch.joint_sums import JointMethod, split
from vispec.torch.names import ModuleNames, local


@dataclass
class Members:
    """texts: of the methods so far, each a list of lines. kernels, attributes: what they need. shaped: inputs that tell how
    many elements axes have. memory: bytes that sums over joint values may take. widths: of nets, for what these take. joints:
    methods for joint values, by name."""

    names: ModuleNames
    shaped: tuple[Input, ...] = ()
    memory: int = 0
    widths: Mapping[str, int] = field(default_factory=dict)
    texts: list[list[str]] = field(default_factory=list)
    kernels: dict[tuple[str, str], None] = field(default_factory=dict)
    attributes: dict[tuple[str, str], None] = field(default_factory=dict)
    modes: dict[str, set[str]] = field(default_factory=dict)
    joints: dict[str, list[str]] = field(default_factory=dict)

    def program(
        self,
        name: str,
        program: Program,
        docstring: str,
        arguments: Sequence[str] = ("batch: dict[str, Tensor]",),
        returns: Returns = "value",
        result: str = "Tensor",
        orders: Mapping[str, Sequence[Axis]] | None = None,
        before: Sequence[str] = (),
        told: Mapping[Axis, str] | None = None,
        graph: bool = True,
        decorators: Sequence[str] = (),
    ) -> None:
        """A method that a program says."""
        program = split(rewrite(program), self.widths, self.shaped, self.joint)
        if any(node.source == "batch" and ragged(node) for node in program.nodes() if isinstance(node, Input)):
            before = ["batch = with_room(batch)", *before]
            self.need([ROOM])
        more = {"told": told, "shaped": self.shaped, "orders": orders, "before": before, "graph": graph}
        found = method(program, name, self.names, arguments, docstring, returns, result, **more)
        decorators = decorators if graph else [*decorators, "@torch.no_grad()"]
        self.add(replace(found, lines=[*decorators, *found.lines]), program)

    def joint(self, found: JointMethod) -> str:
        """The name of a method for some joint values of latents; it is there once."""
        context = [each.name for each in found.context]
        shape = ", ".join(axis.hint for axis in found.order[:-1])
        doc = f"The log-joint ({shape}, {found.latent}) at the joint values of {found.latent} that `index` (S,) numbers."
        arguments = ["index: Tensor", *(f"{name}: Tensor" for name in context)]
        more = {"told": {found.order[-1]: "len(index)"}, "shaped": found.context, "orders": {"log_joint": found.order}}
        name = f"log_joint_of_{found.latent}"
        while True:
            own = self.names.attribute("method", name)
            made = method(found.program, own, self.names, arguments, doc, **more)
            if self.joints.setdefault(name, made.lines) == made.lines:
                break
            name += "_again"
        if made.lines not in self.texts:
            self.add(made, found.program)
        return own

    def add(self, found: Method, program: Program) -> None:
        """A method, and what it needs from the file and the module."""
        self.need(found.needs.kernels)
        self.attributes |= dict.fromkeys(sorted(found.needs.attributes))
        for node in program.nodes():
            if isinstance(node, Call) and node.kind == "net":
                mode = dict(node.settings).get("mode", "whole")
                self.modes.setdefault(node.name, set()).update(("whole", "elements") if "elements" in mode else (mode,))
        self.texts.append(found.lines)

    def text(self, lines: list[str], *kernels: tuple[str, str]) -> None:
        """A method that only calls others."""
        self.need(kernels)
        self.texts.append(lines)

    def need(self, kernels: Sequence[tuple[str, str]] | frozenset[tuple[str, str]]) -> None:
        self.kernels |= dict.fromkeys(sorted(kernels))


BATCH = "batch: dict[str, Tensor]"
ROOM = ("vispec.kernels.rows", "with_room")


def ragged(node: Input) -> bool:
    """Whether it may have no element along a plate of which all rows have none."""
    return any(axis.lengths is not None for axis in node.order)


def rows(o: Outputs) -> str:
    return next(plate.name for plate in o.model.plates if plate.data)


TILTED = "log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."
PAIRS = "log p of each row with `tilt` added to the log-joint of each chain's neighbours: its gradient is their posterior."
QUERIES = "vispec.kernels.queries"


def constants(m: Members, o: Outputs) -> None:
    """A property for each deterministic node that only parameters decide."""
    for name, program in o.constants.items():
        let = next(let for let in o.model.lets if let.name == name)
        axes = (*map(o.f.frame.plate, let.plates), *o.f.frame.shape(let.type))
        plates = f", one for each element of {', '.join(let.plates)}" if let.plates else ""
        code = m.names.attribute("property", name)
        m.program(code, program, f"{let.type}{plates}.", (), orders={name: axes}, decorators=["@property"])


def posterior(m: Members, o: Outputs) -> None:
    """tilted, what queries start from, and posterior."""
    if not o.queries:
        return posterior_of_guides(m, o)
    batch, tilt = BATCH, "tilt: dict[str, Tensor]"
    before = [f"{', '.join([*map(local, o.shared.orders), '_'])} = self.shared()"] if o.shared and o.shared.orders else []
    m.program("tilted", o.queries["tilted"], TILTED, (batch, "total", tilt), before=before)
    if o.along:
        m.program("tilted_pairs", o.queries["tilted_pairs"], PAIRS, (batch, tilt), before=before)
        m.program(
            "neighbours",
            o.queries["neighbours"],
            "A tilt of nothing for the neighbours of each chain.",
            returns="dict",
            result="dict[str, Tensor]",
        )
    orders = {f"inside {name}": plates for name, plates in o.summed.items()}
    doc = "A tilt of nothing for each latent, and which of its elements count where rows differ in length."
    m.program(
        "unknowns",
        o.queries["unknowns"],
        doc,
        returns=two_dicts,
        orders=orders,
        result="tuple[dict[str, Tensor], dict[str, Tensor]]",
    )
    exact = o.setting.combine == "exact"
    lines = [
        "@torch.no_grad()",
        f'def posterior(self, {batch}, query: str = "marginals"{", other: nn.Module | None = None" if exact else ""}) -> dict:',
        *(f"    {line}" for line in described(o, exact)),
    ]
    kernels = [(QUERIES, "ask")]
    if any(plate.ragged for plate in o.model.plates):
        lines.append("    batch = with_room(batch)")
        kernels.append(ROOM)
    if o.along:
        along = ", ".join(f'"{name}": {place}' for name, place in o.along.items())
        lines += [
            '    if query == "pairs":',
            f"        return pairs(self.tilted_pairs, batch, self.neighbours(batch), {{{along}}})",
        ]
        kernels.append((QUERIES, "pairs"))
    several = o.setting.draws.samples is not None
    rest = f"{', False' if several else ''}{', other=other' if exact else ''}"
    if o.guided is None:
        lines.append(f"    return ask(self, batch, query, *self.unknowns(batch){rest})")
    else:
        lines.append("    zeros, inside = self.unknowns(batch)")
        lines.append(f"    found = ask(self, batch, query, zeros, inside{rest})")
        if o.guided.modes:
            again = f'ask(self, batch, "mode", zeros, inside{rest})'
            lines.append(f'    mode = found if query in ("mode", "sample") else {again}')
        lines.append(f"    return found | self.guides(batch{', mode' if o.guided.modes else ''})")
    m.text(lines, *kernels)


def posterior_of_guides(m: Members, o: Outputs) -> None:
    """posterior, where nothing is summed: the guides alone."""
    if o.guided is None:
        return
    names = dict.fromkeys(name.partition(" ")[0] for name in o.guided.program.outputs)
    told = [f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in map(o.model.variable.__getitem__, names)]
    m.text(
        [
            "@torch.no_grad()",
            f'def posterior(self, {BATCH}, query: str = "marginals") -> dict:',
            '    """The parameters of the latents\' guides, which are all that the posterior is told by.',
            "",
            *(f"    {line}" for line in told),
            '    """',
            '    if query != "marginals":',
            '        raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")',
            "    return self.guides(batch)",
        ]
    )


def described(o: Outputs, exact: bool) -> list[str]:
    """The docstring of posterior."""
    guided = () if o.guided is None else dict.fromkeys(name.partition(" ")[0] for name in o.guided.program.outputs)
    variables = [o.model.variable[name] for name in (*o.summed, *guided)]
    return [
        '"""Exact posteriors of the summed latents, and the guides of the drawn ones.',
        "",
        'query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;',
        '"sample", a draw; "entropy", in nats, of each value and of all together'
        + ('; "kl", the divergence from that of `other`.' if exact else "."),
        *(['"pairs": of each element of a chain and the one before, (..., K, K) with one element fewer.'] if o.along else []),
        *(f"{v.name}: {v.type}, ({', '.join(element_plates(v))})." for v in variables),
        '"""',
    ]


def two_dicts(codes: Mapping[str, Code]) -> Code:
    """Outputs "zeros x" and "inside x" as two dicts."""
    found = []
    for kind in ("zeros ", "inside "):
        items = [(name.removeprefix(kind), code) for name, code in codes.items() if name.startswith(kind)]
        found.append(listed([Code((f'"{name}": ', *code.pieces), 0) for name, code in items], "{}"))
    return Code((*found[0].pieces, ", ", *found[1].pieces), 0)
