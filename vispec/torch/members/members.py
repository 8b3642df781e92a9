"""The methods of the class, those that a program says and those that only call others; and the posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vispec.lower.outputs import Outputs
from vispec.model.extent import element_plates
from vispec.model.model import Model
from vispec.program.axis import Axis
from vispec.program.node import Call, Input
from vispec.program.program import Program
from vispec.rewrite.rules import rewrite
from vispec.torch.function import Method, Returns, method
from vispec.torch.nodes.counts import with_shared_counts
from vispec.torch.nodes.joint_sums import JointMethod, Layers, split
from vispec.torch.text.names import ModuleNames


@dataclass
class Members:
    """texts: of the methods so far, each a list of lines. kernels, attributes: what they need. shaped: inputs that tell how
    many elements axes have. memory: bytes that sums over joint values may take. layers: of nets, for what these take. joints:
    methods for joint values, by name. counting: nets that may be told how often each of their words occurs."""

    names: ModuleNames
    shaped: tuple[Input, ...] = ()
    memory: int = 0
    layers: Mapping[str, Layers] = field(default_factory=dict)
    texts: list[list[str]] = field(default_factory=list)
    kernels: dict[tuple[str, str], None] = field(default_factory=dict)
    attributes: dict[tuple[str, str], None] = field(default_factory=dict)
    modes: dict[str, set[str]] = field(default_factory=dict)
    joints: dict[str, list[str]] = field(default_factory=dict)
    counting: frozenset[str] = frozenset()

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
        program = with_shared_counts(split(rewrite(program), self.layers, self.shaped, self.joint), self.counting)
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


def entries_of(model: Model) -> dict[str, tuple[str, ...]]:
    """What a batch has, each entry with its plates."""
    found = {v.name: element_plates(v) for v in model.variables if v.role != "latent"}
    found |= {f"{v.name}_observed": element_plates(v) for v in model.variables if v.role == "partial"}
    return found | {plate.length_key: plate.inside for plate in model.plates if plate.ragged}


def constants(m: Members, o: Outputs) -> None:
    """A property for each deterministic node that only parameters decide."""
    for name, program in o.constants.items():
        let = next(let for let in o.model.lets if let.name == name)
        axes = (*map(o.f.frame.plate, let.plates), *o.f.frame.shape(let.type))
        plates = f", one for each element of {', '.join(let.plates)}" if let.plates else ""
        code = m.names.attribute("property", name)
        m.program(code, program, f"{let.type}{plates}.", (), orders={name: axes}, decorators=["@property"])
