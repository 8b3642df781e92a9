"""Outputs → the text of a standalone PyTorch module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from vispec.factors.frame import dtype_of, element_plates
from vispec.lower.outputs import Outputs
from vispec.model.model import Model
from vispec.plan.order.steps import Structured, Sum
from vispec.program.node import Input
from vispec.torch.generation import generation
from vispec.torch.guides import guide_modules
from vispec.torch.joint_sums import layer_width
from vispec.torch.members import Members, density, posterior
from vispec.torch.names import ModuleNames
from vispec.torch.nets.classes import NetCode, emit_net
from vispec.torch.parameters import CONSTRAINTS, declaration, properties
from vispec.torch.sampled import guides, weights
from vispec.torch.source_text import kernel_source, with_borrowed
from vispec.torch.starts import initialise

MEMBERS = (density, weights, guides, posterior, initialise, generation)
"""What the class holds, in this order."""


MEMORY = 2**30
"""Bytes that a sum over joint values may take at once, where nothing else is said."""


def print_module(outputs: Outputs, sizes: Mapping[str, int] | None = None, memory: int | None = None) -> str:
    """The module's text; `sizes` become defaults of the constructor's arguments, `memory` bounds sums over joint values."""
    model, names = outputs.model, ModuleNames()
    for param in model.params:  # a parameter keeps its name before anything else
        names.attribute("property" if param.type.domain in CONSTRAINTS else "parameter", param.name)
    members = Members(names, tuple(data_inputs(outputs)), memory or MEMORY, {net.name: layer_width(net) for net in model.nets})
    for add in MEMBERS:
        add(members, outputs)
    members.need([("vispec.kernels.heap", "keep_pages")])
    members.need([kernel for _, kernel, _ in guide_modules(outputs, members)])
    accessors = list[list[str]]()
    for param in model.params:
        lines, kernels = properties(param, names)
        members.need(kernels)
        accessors += [lines] if lines else []
    nets = {net.name: emit_net(net, model, members.modes[net.name]) for net in model.nets if net.name in members.modes}
    for net in nets.values():
        members.need(net.kernels)
    around = [*kernel_texts(members), *(net.text.strip("\n") for net in nets.values())]
    name = class_name(model, "\n".join(around))
    head = class_head(name, outputs, members, nets, dict(sizes or {}))
    body = [line for member in [*accessors, *members.texts] for line in ["", *indented(member)]]
    text = "\n\n\n".join([*around, "\n".join(line.rstrip() for line in [*head, *body])])
    extra = sorted({line for net in nets.values() for line in net.imports})
    functional = ["from torch.nn import functional as F"] if re.search(r"\bF\.", text) else []
    heading = "\n".join(["import torch", "from torch import Tensor, nn", *functional, *extra])
    return f"{derivation(outputs)}\n\n{heading}\n\n\n{text}\n"


def data_inputs(o: Outputs) -> Iterator[Input]:
    """All that a batch holds, which may be asked for its shape."""
    frame = o.f.frame
    for variable in o.model.variables:
        if variable.role != "latent":
            order = (*map(frame.plate, element_plates(variable)), *frame.shape(variable.type))
            yield Input(variable.name, order, dtype_of(variable.type), "batch")
    for plate in o.model.plates:
        if isinstance(lengths := frame.plate(plate.name).lengths, Input):
            yield lengths


def kernel_texts(members: Members) -> list[str]:
    """Source of every kernel that the module uses, a file's kernels together."""
    by_module: dict[str, list[str]] = {}
    for module, name in with_borrowed(members.kernels):
        by_module.setdefault(module, []).append(name)
    return [kernel_source(module, sorted(names)).strip("\n") for module, names in sorted(by_module.items())]


def class_name(model: Model, around: str) -> str:
    """The model's name, with Model behind it where the file needs the name for something else."""
    taken = {"F", "Tensor", "nn", "torch", *re.findall(r"^(?:class |def |)(\w+)(?=[(:]| = )", around, re.M)}
    return model.name + "Model" if model.name in taken else model.name


def class_head(name: str, o: Outputs, members: Members, nets: Mapping[str, NetCode], sizes: dict[str, int]) -> list[str]:
    """The class down to its constructor."""
    exact = o.setting.combine == "exact"
    lines = [f"class {name}(nn.Module):", *indented(docstring(o.model)), ""]
    lines += indented([f"exact = {exact}", f'estimator = "{estimator(o)}"', *sums(o), ""])
    return lines + indented(constructor(o, members, nets, sizes))


def estimator(o: Outputs) -> str:
    """What log_prob reports."""
    from vispec.plan.plan import text

    drawn = [t for t in o.setting.treatments.values() if t.kind == "draw" and t.estimator and t.gradient != "point"]
    return "exact" if o.setting.combine == "exact" else ", ".join(dict.fromkeys(text(t.estimator) for t in drawn)) or "elbo"


def sums(o: Outputs) -> list[str]:
    """What the posterior sums out, as a class attribute; where that is all that there is to it."""
    if o.asked is None or o.setting.combine != "exact":
        return []
    told = [str(step) for step in o.asked.steps if isinstance(step, Sum | Structured)]
    listed = ", ".join(f'"{each}"' for each in told)
    return [f"sums = ({listed},)" if len(told) == 1 else f"sums = ({listed})"]


def docstring(model: Model) -> list[str]:
    """What a batch holds."""
    parts = []
    for variable in model.variables:
        if variable.role != "latent":
            shape = ", ".join(map(str, (*element_plates(variable), *variable.type.shape)))
            parts.append(f"{variable.name} ({shape}) {variable.type}")
            if variable.role == "partial":
                parts.append(f"{variable.name}_observed ({', '.join(variable.plates)}) bool")
    parts += [f"{plate.length_key} ({', '.join(plate.inside)})" for plate in model.plates if plate.ragged]
    text = "Batch: " + "; ".join(parts) + "."
    return [f'"""{text}"""'] if len(text) < 110 else ['"""Batch:', *(f"    {part}" for part in parts), '"""']


def constructor(o: Outputs, members: Members, nets: Mapping[str, NetCode], sizes: dict[str, int]) -> list[str]:
    names, model = members.names, o.model
    values = {size.name: sizes.get(size.name, size.value) for size in model.sizes}
    values |= {vocab.name: sizes.get(vocab.name) for vocab in model.vocabs}
    safe = {name: names.attribute("size", name) for name in values}
    required = [f"{safe[name]}: int" for name, value in values.items() if value is None]
    optional = [f"{safe[name]}: int = {value}" for name, value in values.items() if value is not None]
    lines = [f"def __init__(self{''.join(f', {a}' for a in (*required, *optional))}):", "    super().__init__()"]
    lines += [f"    self.{safe[name]} = {safe[name]}" for name in values if ("size", name) in members.attributes]
    lines += [f"    {declaration(param, model, names)}" for param in model.params]
    for name, (_, made), arguments in guide_modules(o, members):
        lines.append(f"    self.{names.attribute('module', name)} = {made}({arguments})")
    for name, net in nets.items():
        told = ", ".join(net.sizes)
        lines.append(f"    self.{names.attribute('net', name)} = {net.class_name}({told})")
    if any(getattr(entry, "what", None) == "kl" for entry in model.fit):
        lines.append("    self.kl_weight = 1.0")
    warm = next((entry for entry in model.fit if getattr(entry, "what", None) == "temperature"), None)
    if warm is not None:
        lines.append(f"    self.temperature = {warm.start}  # of relaxed draws")  # type: ignore[union-attr]
    if members.joints:
        size = members.memory
        shown = f"{size:_}" if size & (size - 1) else f"2**{size.bit_length() - 1}"
        lines.append(f"    self.memory = {shown}  # bytes that a sum over joint values may take at once")
        lines.append("    self.max_joint_values = 2**24")
    if ("buffer", "score_baseline") in members.attributes:
        lines.append('    self.register_buffer("score_baseline", torch.zeros(()))')
    lines.append('    self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module\'s')
    return [*lines, "    keep_pages()"]


def derivation(o: Outputs) -> str:
    """A module docstring. Text from the spec is escaped: it may hold anything."""
    name = Path(o.model.source.name).name
    what = "exact" if o.setting.combine == "exact" else f"a bound or estimate, {estimator(o)}"
    lines = [f"{o.model.name}: emitted by vispec from {name}; imports torch and nothing else.", "", f"    log_prob: {what}", ""]
    lines += [f"    {step}" for step in o.order.steps]
    rows = o.plan.rows if o.plan is not None else ()
    width = max((len(row.variable) for row in rows), default=0)
    lines += ["", *(f"    {row.variable:<{width}}  {row.treatment}; {row.because}" for row in rows)]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""'


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
