"""Latents that a net reads together: their joint values are enumerated in chunks, each through one method of the module."""

import re
from collections.abc import Sequence
from dataclasses import replace

from vispec.emit.factors import emit_factor, run_steps
from vispec.emit.laws.densities import dense
from vispec.emit.laws.expressions import expression, named, sequence_mask
from vispec.emit.laws.joins import add, last, tilt
from vispec.emit.value import Value, align
from vispec.emit.writer import ModuleNeeds, Writer, identifier, targets
from vispec.model.model import All, Draw, Evidence, NetCall, Prefix, Variable
from vispec.model.walk import law_parts, walk
from vispec.plan.axes import SAMPLES
from vispec.plan.estimate import law_reads
from vispec.plan.plan import Factor, Plan, Step

ENUMERATION = "vispec.kernels.sums.enumeration"


def joint_step(plan: Plan) -> Step | None:
    """The sum over joint values, if the plan has one."""
    return next((s for s in plan.steps if s.kind == "sum" and set(s.eliminated) & set(plan.scope.joint)), None)


def inside(plan: Plan, step: Step) -> tuple[list[Factor], list[Step]]:
    """The factors and the steps that lead to the joint sum, all of them at one chunk of joint values."""
    names, steps = set(step.inputs), list[Step]()
    for earlier in reversed(plan.steps):
        if earlier.output in names and earlier is not step:
            steps.insert(0, earlier)
            names |= set(earlier.inputs)
    return [f for f in plan.factors if f.name in names], steps


def joint_methods(plan: Plan, needs: ModuleNeeds, step: Step) -> list[list[str]]:
    """`context_of_f(batch)`: what does not depend on the value of f; `log_joint_of_f(index, *context)`: log-joints (*plates, f)
    at the joint values that `index` numbers."""
    (name,) = step.eliminated
    w = Writer(plan.model, plan.scope, plan.order, needs)
    w.taken |= {"index"}
    variable = plan.model.variable[name]
    bind_joint(w, variable, plan.scope.joint[name])
    w.bound |= needs.joint_reads
    given = [value.code for value in needs.joint_reads.values() if value.code.isidentifier()]
    w.taken |= {*given}
    factors, steps = inside(plan, step)
    values = {factor.name: own_density(w, plan, factor, variable) or emit_factor(w, plan, factor) for factor in factors}
    found = run_steps(w, steps, values, query=False)
    parts = [dense(w, found[each]) for each in step.inputs]
    valid = valid_values(w, variable, plan.scope.joint[name])
    total = add(w, parts, f"log_joint_of_{name}")
    if valid is not None:
        axes = w.sort({*total.axes, *valid.axes})
        total = w.let("log_joint", f"torch.where({align(valid, axes)}, {align(total, axes)}, -torch.inf)", axes)
    total = last(w, total, (name,))
    once, again = apart(w.body(total.code), "index")
    read = words(" ".join([*map(source_of_line, again), total.code]))
    context = [name for name in dict.fromkeys([*given, *(t for line in once for t in targets(line))]) if name in read]
    arguments = ", ".join(["self, batch: dict[str, Tensor]", *(f"{each}: Tensor" for each in given)])
    shape = ", ".join(total.axes)
    return [
        [
            f"def context_of_{name}({arguments}) -> tuple[Tensor, ...]:",
            f'    """What the log-joint of every value of {name} reads, computed once: {", ".join(context)}."""',
            *(f"    {line}" for line in once),
            f"    return {', '.join(context)}{',' if len(context) == 1 else ''}",
        ],
        [
            f"def log_joint_of_{name}(self, index: Tensor, {', '.join(f'{each}: Tensor' for each in context)}) -> Tensor:",
            f'    """The log-joint ({shape}) of each row at the joint values of {name} that `index` (S,) numbers."""',
            *(f"    {line}" for line in again),
            f"    return {total.code}",
        ],
    ]


def apart(lines: list[str], name: str) -> tuple[list[str], list[str]]:
    """The lines that do not depend on a name, and those that do."""
    varying, once, again = {name}, list[str](), list[str]()
    for line in lines:
        if words(source_of_line(line)) & varying:
            varying |= set(targets(line))
            again.append(line)
        else:
            once.append(line)
    return once, again


def source_of_line(line: str) -> str:
    """What a line computes from, without its comment."""
    code = line.split("  # ")[0]
    return code.split(" = ", 1)[1] if targets(line) else code


def words(code: str) -> set[str]:
    """Names in code, those after a dot aside: an attribute is no variable."""
    return set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", code))


def bind_joint(w: Writer, variable: Variable, plate: str) -> None:
    """The variable as its joint values: a sequence where it is read whole, one element where it is read in its plate."""
    name = variable.name
    w.needs.kernel(ENUMERATION, "digits")
    call = f"digits(index, {w.plate_size(plate)}, {values_of(w, variable)})"
    code = f"{call}.to(self.one.dtype)" if variable.type.domain == "bit" else call
    whole = w.let(f"{name}_values", code, (name,), (plate,), integer=variable.type.domain != "bit")
    mask = sequence_mask(w, plate) if w.model.plate[plate].ragged else None
    w.bound[f"whole {name}"] = replace(whole, mask=mask)
    w.bound[name] = Value(f"{whole.code}.T", w.sort((plate, name)), integer=whole.integer)


def values_of(w: Writer, variable: Variable) -> str:
    """How many values one of the latents has."""
    type_ = variable.type
    if type_.domain == "bit":
        return "2"
    return w.dim(type_.card) if type_.card is not None else w.plate_size(str(type_.plate))


def own_density(w: Writer, plan: Plan, factor: Factor, variable: Variable) -> Value | None:
    """log p of the joint values: for bits whose log-odds come from a net, one product; its plate is already summed."""
    law = factor.law
    if factor.variable != variable.name or not isinstance(law, Draw) or law.distribution != "Bernoulli":
        return None
    (probs,) = (argument for _, argument in law.args)
    if not isinstance(probs, NetCall):
        return None
    plate = plan.scope.joint[variable.name]
    logit = expression(w, probs)
    if logit.form != "logit" or plate not in logit.axes or variable.name in logit.axes or logit.axes[-1] != plate:
        return None
    empty = f"F.logsigmoid(-{logit.code})"
    hint, kept = f"log_{identifier(variable.name)}", logit.axes[:-1]
    if w.model.plate[plate].ragged:
        mask = align(w.inside(plate), logit.axes)
        logit = w.let(f"{logit.code}_inside", f"torch.where({mask}, {logit.code}, 0.0)", logit.axes)
        empty = f"torch.where({mask}, {empty}, 0.0)"
    none = w.let(f"{hint}_none", f"{empty}.sum(-1, keepdim=True)", (*kept, plate))  # the law of all zeros
    whole = w.bound[f"whole {variable.name}"]
    value = w.let(hint, f"{none.code} + {logit.code} @ {whole.code}.T", (*kept, variable.name))
    return replace(value, done=plate)


def valid_values(w: Writer, variable: Variable, plate: str) -> Value | None:
    """Joint values whose digits past a ragged end are zero: each of a shorter row's own, once."""
    if not w.model.plate[plate].ragged:
        return None
    lengths = w.lengths(plate)
    axes = (*lengths.axes, variable.name)
    bound = f"{values_of(w, variable)} ** {align(lengths, axes)}"
    return w.let("valid", f"index < {bound}", axes)


def joint_sum(w: Writer, plan: Plan, step: Step, query: bool) -> Value:
    """The sum over all joint values; for a query, under its algebra and with the latents' tilt."""
    (name,) = step.eliminated
    variable = plan.model.variable[name]
    plate = plan.scope.joint[name]
    kernels = ["number_of_joint_values", *(["every_log_joint", "tilt_of_joint"] if query else ["enumerated_log_sum"])]
    for kernel in kernels:
        w.needs.kernel(ENUMERATION, kernel)
    w.needs.joint = bytes_per_value(w, plan, step)
    longest = f"max(int({w.lengths(plate).code}.max()), 1)" if w.model.plate[plate].ragged else w.plate_size(plate)
    count = w.let("count", f"number_of_joint_values({longest}, {values_of(w, variable)}, self.max_joint_values)")
    w.needs.joint_reads = {each: named(w, each) for each in drawn_inside(plan, step)}
    many = any(SAMPLES in value.axes for value in w.needs.joint_reads.values())
    lead = (*([SAMPLES] if many else []), *step.plates, *step.latents)
    rows = " * ".join([*([str(w.samples)] if many else []), *map(w.plate_size, step.plates), *map(w.axis_size, step.latents)])
    each = w.let("bytes_each", f"{rows} * {w.needs.joint}")
    given = [value.code for value in w.needs.joint_reads.values() if value.code.isidentifier()]
    call = f"self.log_joint_of_{name}, self.context_of_{name}({', '.join(['batch', *given])})"
    if not query:
        code = f"enumerated_log_sum({call}, {count.code}, {each.code}, self.memory, tuple(self.parameters()))"
        return w.let(f"log_sum_{name}", code, lead)
    size = w.let("size", f"{w.needs.kernel(ENUMERATION, 'values_at_once')}({each.code}, self.memory, self.one.device)")
    every = w.let("log_joint", f"every_log_joint({call}, {count.code}, {size.code}, self.one.device)", (*lead, name))
    own = w.let("tilt_of_values", f"tilt_of_joint({tilt(w, name).code}, {count.code})", (*step.plates, name))
    tilted = w.let("tilted", f"{every.code} + {align(own, every.axes)}", every.axes)
    return w.let(f"log_sum_{name}", f"total({tilted.code})", every.axes[:-1])


def drawn_inside(plan: Plan, step: Step) -> list[str]:
    """The drawn variables that the joint values are scored with."""
    read = frozenset[str]().union(*(law_reads(factor.law, plan.model) for factor in inside(plan, step)[0]))
    return [name for name in plan.scope.drawn if name in read]


def bytes_per_value(w: Writer, plan: Plan, step: Step) -> str:
    """What one joint value of one row keeps for the backward pass, roughly: thrice the outputs of all layers that read it."""
    (name,) = step.eliminated
    terms = ["4"]
    for factor in inside(plan, step)[0]:
        for part in law_parts(factor.law) if factor.law else ():
            for call in walk(part):
                if isinstance(call, NetCall) and any(isinstance(e, All) and e.name == name for e in walk(call)):
                    own = [p for p in factor.plates if p not in (*step.plates, plan.scope.joint[name])]
                    terms.append(net_width(w, plan, call, own))
    return f"(12 * ({' + '.join(terms)}))"


def net_width(w: Writer, plan: Plan, call: NetCall, own: Sequence[str]) -> str:
    """Numbers that a net puts out over its `own` plates, as text; a step of a recurrent one has about six times its width."""
    net = plan.model.net[call.net]
    widths = [n for stage in net.trunk for n in flat((stage.args, stage.kwargs)) if isinstance(n, int) and n > 1]
    recurrent = any(stage.layer in ("lstm", "gru", "transformer") for stage in net.trunk)
    heads = [w.dim(d) for _, type_ in net.heads for d in type_.shape]
    width = f"{6 * sum(widths) if recurrent else sum(widths)} + {' + '.join(heads) or '1'}"
    sequences = [e for e, (_, type_) in zip(call.args, net.args, strict=True) if type_.star]
    reads = [e.read if isinstance(e, Evidence) else e for e in sequences]
    read = [e.plate for e in reads if isinstance(e, All | Prefix)] if recurrent else []
    plates = dict.fromkeys([*own, *(p for p in read if p in w.model.plate)])
    return f"({width})" + "".join(f" * {w.plate_size(p)}" for p in plates)


def flat(value: object) -> list[object]:
    return [inner for item in value for inner in flat(item)] if isinstance(value, tuple) else [value]
