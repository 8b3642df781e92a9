"""Plan → the text of a standalone PyTorch module."""

import re
from collections.abc import Mapping

from vispec.emit.constants import constant_properties
from vispec.emit.derivation import derivation
from vispec.emit.draws.divergences import divergences_method
from vispec.emit.draws.joint_guide import joint_constructor
from vispec.emit.draws.latents import temperature_moves
from vispec.emit.draws.moments import draws_method
from vispec.emit.draws.weights import log_weights_method
from vispec.emit.laws.flow import flow_constructors
from vispec.emit.methods import density_methods
from vispec.emit.parameters import declaration, properties
from vispec.emit.posterior import posterior_methods
from vispec.emit.sampling.generate import generation_methods
from vispec.emit.starts.method import initialise_method
from vispec.emit.writer import ModuleNeeds, identifier
from vispec.plan.axes import element_plates
from vispec.plan.plan import Plan
from vispec.torch.nets.classes import NetCode, emit_net
from vispec.torch.source_text import kernel_source, with_borrowed

MEMORY = 2**30  # bytes


def emit(plan: Plan, sizes: Mapping[str, int] | None = None, memory: int = MEMORY) -> str:
    """The module's text; `sizes` become defaults of the constructor's arguments, `memory` bounds sums over joint values."""
    needs = ModuleNeeds()
    methods = [
        *density_methods(plan, needs),
        *log_weights_method(plan, needs),
        *posterior_methods(plan, needs),
        *draws_method(plan, needs),
        *divergences_method(plan, needs),
        *initialise_method(plan, needs),
        *generation_methods(plan, needs),
    ]
    needs.kernel("vispec.kernels.heap", "keep_pages")
    accessors = [lines for param in plan.model.params if (lines := properties(param, needs))]
    accessors += constant_properties(plan, needs)
    used = [net for net in plan.model.nets if net.name in needs.net_modes]
    nets = {net.name: emit_net(net, plan.model, needs.net_modes[net.name]) for net in used}
    for net in nets.values():
        for module, name in net.kernels:
            needs.kernel(module, name)
    around = [*kernels(needs), *(net.text.strip("\n") for net in nets.values())]
    name = class_name(plan, "\n".join(around))
    text = "\n\n\n".join([*around, class_text(name, plan, needs, nets, dict(sizes or {}), memory, accessors, methods)])
    extra = sorted({line for net in nets.values() for line in net.imports})
    functional = ["from torch.nn import functional as F"] if re.search(r"\bF\.", text) else []
    heading = "\n".join(["import torch", "from torch import Tensor, nn", *functional, *extra])
    return f"{derivation(plan)}\n\n{heading}\n\n\n{text}\n"


def kernels(needs: ModuleNeeds) -> list[str]:
    """Source of every kernel that the module uses, a file's kernels together."""
    by_module: dict[str, list[str]] = {}
    for module, name in with_borrowed(needs.kernels):
        by_module.setdefault(module, []).append(name)
    return [kernel_source(module, sorted(names)).strip("\n") for module, names in sorted(by_module.items())]


def class_name(plan: Plan, around: str) -> str:
    """The model's name, with Model behind it where the file needs the name for something else."""
    taken = {"F", "Tensor", "nn", "torch", *re.findall(r"^(?:class |def |)(\w+)(?=[(:]| = )", around, re.M)}
    return plan.model.name + "Model" if plan.model.name in taken else plan.model.name


def class_text(
    name: str,
    plan: Plan,
    needs: ModuleNeeds,
    nets: dict[str, NetCode],
    sizes: dict[str, int],
    memory: int,
    accessors: list[list[str]],
    methods: list[list[str]],
) -> str:
    lines = [f"class {name}(nn.Module):", *indent(docstring(plan)), ""]
    lines += indent([f"exact = {plan.exact}", f'estimator = "{plan.estimator}"', *sums(needs), ""])
    lines += indent(constructor(plan, needs, nets, sizes, memory))
    for member in [*accessors, *methods]:
        lines += ["", *indent(member)]
    return "\n".join(line.rstrip() for line in lines)


def indent(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def sums(needs: ModuleNeeds) -> list[str]:
    """What the posterior sums out, as a class attribute; where that is all that there is to it."""
    if not needs.sums:
        return []
    listed = ", ".join(f'"{each}"' for each in needs.sums)
    return [f"sums = ({listed},)" if len(needs.sums) == 1 else f"sums = ({listed})"]


def docstring(plan: Plan) -> list[str]:
    """What a batch holds."""
    model = plan.model
    parts = []
    for variable in model.variables:
        if variable.role != "latent":
            shape = ", ".join(map(str, (*element_plates(variable), *variable.type.shape)))
            parts.append(f"{variable.name} ({shape}) {variable.type}")
            if variable.role == "partial":
                parts.append(f"{variable.name}_observed ({', '.join(variable.plates)}) bool")
    for plate in model.plates:
        if plate.ragged:
            parts.append(f"{plate.length_key} ({', '.join(p for p in plate.inside)})")
    text = "Batch: " + "; ".join(parts) + "."
    return [f'"""{text}"""'] if len(text) < 110 else ['"""Batch:', *(f"    {part}" for part in parts), '"""']


def constructor(plan: Plan, needs: ModuleNeeds, nets: dict[str, NetCode], sizes: dict[str, int], memory: int) -> list[str]:
    model = plan.model
    values = {size.name: sizes.get(size.name, size.value) for size in model.sizes} | {
        v.name: sizes.get(v.name) for v in model.vocabs
    }
    required = [f"{identifier(name)}: int" for name, value in values.items() if value is None]
    optional = [f"{identifier(name)}: int = {value}" for name, value in values.items() if value is not None]
    lines = [f"def __init__(self{''.join(f', {a}' for a in (*required, *optional))}):", "    super().__init__()"]
    lines += [f"    self.{identifier(name)} = {identifier(name)}" for name in values if name in needs.sizes]
    for param in model.params:
        lines += [f"    {line}" for line in declaration(param, model, needs)]
    for name, net in nets.items():
        lines.append(f"    self.{identifier(name)} = {net.class_name}({', '.join(net.sizes)})")
    if model.joint is not None:
        lines.append(f"    {joint_constructor(model.joint, model)}")
    lines += [f"    {line}" for line in flow_constructors(plan)]
    if any(getattr(entry, "what", None) == "kl" for entry in model.fit):
        lines.append("    self.kl_weight = 1.0")
    if temperature_moves(plan):
        start = next(entry.start for entry in model.fit if getattr(entry, "what", None) == "temperature")  # type: ignore[union-attr]
        lines.append(f"    self.temperature = {start}  # of relaxed draws")
    if plan.baseline == "mean" or (plan.alternative is not None and plan.alternative.baseline == "mean"):
        lines.append('    self.register_buffer("score_baseline", torch.zeros(()))')
    if needs.joint is not None:
        size = f"{memory:_}" if memory & (memory - 1) else f"2**{memory.bit_length() - 1}"
        lines.append(f"    self.memory = {size}  # bytes that a sum over joint values may take at once")
        lines.append("    self.max_joint_values = 2**24")
    lines.append('    self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module\'s')
    lines.append("    keep_pages()")
    return lines
