"""Outputs → the text of a standalone PyTorch module."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from vispec.factors.frame import dtype_of, element_plates
from vispec.lower.outputs import Outputs
from vispec.model.model import Model
from vispec.plan.order.steps import Structured, Sum, Total
from vispec.program.node import Input
from vispec.torch.members.decoding import decoding
from vispec.torch.members.density import density
from vispec.torch.members.generation import generation
from vispec.torch.members.guides import guide_modules
from vispec.torch.members.members import Members, constants
from vispec.torch.members.only import Kept, arguments, kept, name_of
from vispec.torch.members.parameters import declaration, named, properties, stored
from vispec.torch.members.posterior import posterior
from vispec.torch.members.sampled import drawn, guides, weights
from vispec.torch.members.starts import initialise
from vispec.torch.members.tables import table_lines
from vispec.torch.nets.classes import NetCode, emit_net
from vispec.torch.nets.uses import uses
from vispec.torch.nodes.joint_sums import layers_of
from vispec.torch.text.source_text import imports_of, kernel_texts, native_kernels, native_texts

MEMORY = 2**30
"""Bytes that a sum over joint values may take at once, where nothing else is said."""


def print_module(
    outputs: Outputs, sizes: Mapping[str, int] | None = None, only: Sequence[str] = (), native: bool | None = None
) -> str:
    """The module's text; `sizes` become defaults of the constructor's arguments. only: members that are asked for,
    with what they need. native: whether it carries kernels in C++; None: where it is whole. Raises UnknownMemberError for a
    name of none."""
    model, names = outputs.model, named(outputs.model)
    memory = None if outputs.plan is None else outputs.plan.budget.memory
    layers_by_net = {net.name: layers_of(net) for net in model.nets}
    counting = frozenset(net.name for net in model.nets if uses(net, model).counted)
    members = Members(names, tuple(data_inputs(outputs)), memory or MEMORY, layers_by_net, counting=counting)
    for add in MEMBERS:
        add(members, outputs)
    wanted = kept(only, members.texts, members.kernels)
    members.kernels = dict.fromkeys(wanted.kernels)
    members.texts = [lines for lines in members.texts if wanted.has(name_of(lines))]
    layers = [layer for layer in guide_modules(outputs, members) if wanted.has(layer[0])]
    members.need([*([] if only else [HEAP]), *(kernel for _, kernel, _ in layers)])
    called = [net for net in model.nets if net.name in members.modes and wanted.has(names.attribute("net", net.name))]
    nets = {net.name: emit_net(net, model, modes(members, net.name)) for net in called}
    for net in nets.values():
        members.need(net.kernels)
    if native or (native is None and not only):
        members.need(native_kernels(members.kernels))
    around = [*kernel_texts(members.kernels), *(net.text.strip("\n") for net in nets.values())]
    imported = sorted({line for net in nets.values() for line in net.imports})
    standard = imports_of(members.kernels)
    name = class_name(model, "\n".join([*standard, *imported, *around]))
    head = class_head(name, outputs, members, constructor(outputs, members, nets, layers, sizes or {}, wanted))
    body = [line for member in members.texts for line in ["", *indented(member)]]
    text = "\n\n\n".join([*around, "\n".join(line.rstrip() for line in [*head, *body]), *native_texts(members.kernels)])
    functional = ["from torch.nn import functional as F"] if re.search(r"\bF\.", text) else []
    heading = "\n".join(
        [*standard, *[""] * bool(standard), "import torch", "from torch import Tensor, nn", *functional, *imported]
    )
    return f"{derivation(outputs, bool(standard))}\n\n{heading}\n\n\n{text}\n"


def modes(members: Members, net: str) -> set[str]:
    """In which ways a net is called by what is printed."""
    step = f"self.{members.names.attribute('net', net)}.next("
    asked = any(step in line for lines in members.texts for line in lines)
    return members.modes[net] - ({"next"} if not asked else set())


def parameters(m: Members, o: Outputs) -> None:
    """A property for each parameter that is stored without its constraint; others are assigned by their numbers too."""
    for param in o.model.params:
        lines, kernels = properties(param, m.names)
        if lines:
            m.text(lines, *kernels)
    if any(not properties(param, m.names)[0] for param in o.model.params):
        m.text(list(ASSIGNED))


ASSIGNED = (
    "def __setattr__(self, name: str, value) -> None:",
    '    """A parameter takes the numbers that it is assigned."""',
    '    own = self.__dict__.get("_parameters", {}).get(name)',
    "    if own is None or isinstance(value, nn.Parameter):",
    "        return super().__setattr__(name, value)",
    "    with torch.no_grad():",
    "        own.copy_(torch.as_tensor(value))",
)


MEMBERS = (parameters, constants, density, weights, drawn, guides, posterior, initialise, decoding, generation)
"""What the class holds, in this order."""


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


def class_name(model: Model, around: str) -> str:
    """The model's name, with Model behind it where the file needs the name for something else."""
    taken = {"F", "Tensor", "nn", "torch", *dir(builtins)}
    taken |= {*re.findall(r"^(?:class |def |)(\w+)(?=[(:]| = )", around, re.M), *re.findall(r"import (\w+)$", around, re.M)}
    return model.name + "Model" if model.name in taken else model.name


def class_head(name: str, o: Outputs, members: Members, made: list[str]) -> list[str]:
    """The class down to its constructor."""
    lines = [f"class {name}(nn.Module):", *indented(docstring(o.model)), ""]
    lines += indented([f"exact = {o.exact}", f'estimator = "{estimator(o)}"', *sums(o)])
    renamed = members.names.renamed()
    if not renamed:
        return lines + indented(["", *made])
    told = ", ".join(f'"{name}": "{found}"' for name, found in sorted(renamed.items()))
    return lines + indented([f"renamed = {{{told}}}  # names of the spec that are taken", "", *made, "", *PARAMETER])


HEAP = ("vispec.kernels.heap", "keep_pages")
PARAMETER = (
    "def parameter(self, name: str) -> Tensor | nn.Module:",
    '    """What the spec calls so: a parameter in constrained space, a net, or a node that parameters decide."""',
    "    return getattr(self, self.renamed.get(name, name))",
)


def estimator(o: Outputs) -> str:
    """What log_prob reports."""
    from vispec.plan.treatment import text

    if o.otherwise is not None and o.plan is not None:
        return o.plan.estimator
    drawn = [t for t in o.setting.treatments.values() if t.kind == "draw" and t.estimator and t.gradient != "point"]
    return "exact" if o.setting.combine == "exact" else ", ".join(dict.fromkeys(text(t.estimator) for t in drawn)) or "elbo"


def sums(o: Outputs) -> list[str]:
    """What the posterior sums out, as a class attribute; where that is all that there is to it."""
    if o.asked is None or o.setting.combine != "exact":
        return []
    told = [str(step) for step in o.asked.steps if isinstance(step, Sum | Structured)]
    listed = [f'"{each}"' for each in told]
    line = f"sums = ({', '.join(listed)}{',' if len(told) == 1 else ''})"
    return [line] if len(line) <= 124 else ["sums = (", *(f"    {each}," for each in listed), ")"]


def docstring(model: Model) -> list[str]:
    """What a batch holds."""
    parts = []
    for variable in model.variables:
        if variable.role != "latent":
            shape = ", ".join(map(str, (*element_plates(variable), *variable.type.shape)))
            parts.append(f"{variable.name} ({shape}) {variable.type}")
            if variable.role == "partial":
                parts.append(f"{variable.name}_observed ({', '.join(element_plates(variable))}) bool")
    parts += [f"{plate.length_key} ({', '.join(plate.inside)})" for plate in model.plates if plate.ragged]
    text = "Batch: " + "; ".join(parts) + "."
    return [f'"""{text}"""'] if len(text) < 110 else ['"""Batch:', *(f"    {part}" for part in parts), '"""']


def constructor(
    o: Outputs,
    members: Members,
    nets: Mapping[str, NetCode],
    layers: Iterable[tuple[str, tuple[str, str], str]],
    told: Mapping[str, int],
    wanted: Kept,
) -> list[str]:
    """What is wanted, and the sizes that it needs."""
    names, model = members.names, o.model
    made = [(stored(param, names).removeprefix("self."), declaration(param, model, names)) for param in model.params]
    made += [(name, f"self.{name} = {kernel}({given})") for name, (_, kernel), given in layers]
    for net, code in nets.items():
        name = names.attribute("net", net)
        given = [names.attribute("size", size) for size in code.sizes]
        given += [f"self.{names.attribute('net', table)}" for table in code.tables]
        made.append((name, f"self.{name} = {code.class_name}({', '.join(given)})"))
    read = {table for code in nets.values() for table in code.tables}
    lines = [line for table in model.embeddings if table.name in read for line in table_lines(table, model, names)]
    lines += [line for name, line in (*made, *settings(o, members)) if wanted.has(name)]
    values = {size.name: told.get(size.name, size.value) for size in model.sizes}
    values |= {vocab.name: told.get(vocab.name) for vocab in model.vocabs}
    safe = {name: names.attribute("size", name) for name in values}
    held = [name for name in values if ("size", name) in members.attributes and wanted.has(safe[name])]
    if wanted.attributes is None:
        lines.append("keep_pages()")
    else:
        values = {name: values[name] for name in values if name in {*held, *arguments(lines, safe)}}
    required = [f"{safe[name]}: int" for name, value in values.items() if value is None]
    optional = [f"{safe[name]}: int = {value}" for name, value in values.items() if value is not None]
    return [
        f"def __init__(self{''.join(f', {a}' for a in (*required, *optional))}):",
        "    super().__init__()",
        *(f"    self.{safe[name]} = {safe[name]}" for name in held),
        *(f"    {line}" for line in lines),
    ]


def settings(o: Outputs, members: Members) -> Iterator[tuple[str, str]]:
    """What is neither a parameter nor a net: (attribute, line of the constructor)."""
    if any(getattr(entry, "what", None) == "kl" for entry in o.model.fit):
        yield "kl_weight", "self.kl_weight = 1.0"
    warm = next((entry for entry in o.model.fit if getattr(entry, "what", None) == "temperature"), None)
    if warm is not None:
        yield "temperature", f"self.temperature = {warm.start}  # of relaxed draws"  # type: ignore[union-attr]
    if members.joints:
        size = members.memory
        shown = f"{size:_}" if size & (size - 1) else f"2**{size.bit_length() - 1}"
        yield "memory", f"self.memory = {shown}  # bytes that a sum over joint values may take at once"
        yield "max_joint_values", "self.max_joint_values = 2**24"
    if ("buffer", "score_baseline") in members.attributes:
        yield "score_baseline", 'self.register_buffer("score_baseline", torch.zeros(()))'
    note = "  # its dtype and device are the module's"
    yield "one", f'self.register_buffer("one", torch.ones(()), persistent=False){note}'


def derivation(o: Outputs, standard: bool) -> str:
    """A module docstring. Text from the spec is escaped: it may hold anything. standard: whether that library is imported."""
    name = Path(o.model.source.name).name
    what = "exact" if o.exact else f"a bound or estimate, {estimator(o)}"
    imports = "torch and the standard library" if standard else "torch and nothing else"
    lines = [f"{o.model.name}: emitted by vispec from {name}; imports {imports}.", "", f"    log_prob: {what}", ""]
    lines += [f"    {step}" for step in o.order.steps if not (isinstance(step, Total) and len(step.inputs) == 1)]
    rows = o.plan.rows if o.plan is not None else ()
    width = max((len(row.variable) for row in rows), default=0)
    lines += ["", *(f"    {row.variable:<{width}}  {row.treatment}; {row.because}" for row in rows)]
    text = "\n".join(lines).replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}\n"""'


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
