"""A start from the data: where a parameter is a law's location, scale or probability, it starts at what a batch shows."""

from vispec.catalog import networks
from vispec.emit.methods import writer
from vispec.emit.nets.classes import head_size
from vispec.emit.nets.code import plus
from vispec.emit.value import align
from vispec.emit.writer import ModuleNeeds, Writer, identifier
from vispec.model.model import Draw, Expression, Law, NetCall, Param, Ref, Select, Then, Variable
from vispec.plan.plan import Plan


def initialise_method(plan: Plan, needs: ModuleNeeds) -> list[list[str]]:
    """The method `initialise(batch)`, if some parameter has such a place."""
    w = writer(plan, needs)
    done: set[str] = set()
    for variable in plan.model.variables:
        if variable.role == "observed" and variable.law is not None:
            for law in plain_laws(variable.law):
                start(w, plan, variable, law, done)
                start_heads(w, plan, variable, law, done)
    told = ["Start locations at what the batch shows, scales at its spread, probabilities near its means."] if done else []
    if any(networks()[stage.layer].learns for net in plan.model.nets for stage in net.trunk):
        w.line(f"{needs.kernel('vispec.kernels.layers.standardise', 'learn_scales')}(self, batch)")
        told.append("Standardise by it.")
    if not told:
        return []
    doc = f'"""{" ".join(told)}"""'
    return [
        [
            "@torch.no_grad()",
            "def initialise(self, batch: dict[str, Tensor]) -> None:",
            f"    {doc}",
            *(f"    {line}" for line in w.lines),
        ]
    ]


def plain_laws(law: Law) -> list[Draw]:
    match law:
        case Draw():
            return [law]
        case Then(laws=laws):
            return [found for each in laws for found in plain_laws(each)]
        case _:
            return []


def start(w: Writer, plan: Plan, variable: Variable, law: Draw, done: set[str]) -> None:
    """Lines for each parameter of the law that is a bare `param`, its own or selected."""
    for place, argument in law.args:
        param = bare_param(argument, plan)
        template = STARTS.get((law.distribution, place))
        if (
            param is None
            or template is None
            or param.name in done
            or param.type.shape[: len(variable.type.shape)] != variable.type.shape
        ):
            continue
        done.add(param.name)
        flat = elements(w, variable)
        shape = f"{attribute(param)}.shape"
        for line in template:
            w.line(
                line.format(
                    x=flat, p=f"self.{identifier(param.name)}", raw=attribute(param), shape=shape, plates=len(param.plates)
                )
            )


def start_heads(w: Writer, plan: Plan, variable: Variable, law: Draw, done: set[str]) -> None:
    """Lines for the bias of each head of a net that is the law's location or scale: without its input, a net says no more."""
    for place, argument in law.args:
        template = HEADS.get((law.distribution, place, argument.type.domain))
        if template is None or not isinstance(argument, NetCall) or argument.type.shape != variable.type.shape:
            continue
        net = plan.model.net[argument.net]
        name = f"{net.name}.{argument.head}"
        if net.random or name in done:
            continue
        done.add(name)
        sizes = [head_size(type) for _, type in net.heads]
        at = [head for head, _ in net.heads].index(argument.head)
        first, last = (w.dim(plus(*sizes[:end])) for end in (at, at + 1))
        value = template.format(x=elements(w, variable))
        if "softplus_inverse" in value:
            w.needs.kernel("vispec.kernels.constraints", "softplus_inverse")
        w.line(f"self.{identifier(net.name)}.out.bias[{first}:{last}] = {value}{'.flatten()' * (len(argument.type.shape) > 1)}")


def attribute(param: Param) -> str:
    from vispec.emit.parameters import stored

    return stored(param)[0]


def bare_param(argument: Expression, plan: Plan) -> Param | None:
    if isinstance(argument, Ref | Select):
        return plan.model.param.get(argument.name)
    return None


def elements(w: Writer, variable: Variable) -> str:
    """All elements that count, as (N, *event)."""
    value = w.data(variable.name)
    ragged = [axis for axis in value.axes if w.model.plate[axis].ragged]
    name = f"{value.code}_elements"
    if name in w.taken:
        return name
    if ragged:
        masks = [align(w.inside(axis), value.axes) for axis in ragged]
        inside = " & ".join(f"({m})" for m in masks) if len(masks) > 1 else masks[0]
        shape = f"{value.code}.shape[:{len(value.axes)}]"
        code = f"{value.code}[({inside}).expand({shape})]"
    elif len(value.axes) > 1:
        code = f"{value.code}.flatten(0, {len(value.axes) - 1})"
    else:
        code = value.code
    w.taken.add(name)
    w.line(f"{name} = {code}")
    return name


HEADS = {
    ("Normal", "loc", "real"): "{x}.mean(0)",
    ("Normal", "scale", "positive"): "softplus_inverse({x}.std(0, correction=0).clamp(min=1e-3))",
}
ROWS = "{x}[torch.randint(len({x}), {shape}[:{plates}], device={x}.device)]"
STARTS = {
    ("Normal", "loc"): (f"{{p}}.copy_({ROWS})",),
    ("Normal", "scale"): ("{p} = {x}.std(0, correction=0).clamp(min=1e-3).expand({shape})",),
    ("MultivariateNormal", "loc"): (f"{{p}}.copy_({ROWS})",),
    ("MultivariateNormal", "scale_tril"): ("{p} = {x}.std(0, correction=0).clamp(min=1e-3).diag().expand({shape})",),
    ("Bernoulli", "probs"): (
        "mean = ({x}.sum(0) + 1) / (len({x}) + 2)",
        "{raw}.copy_(torch.logit(mean) + torch.randn({shape}, device=mean.device, dtype=mean.dtype))",
    ),
    ("Poisson", "rate"): (
        "{p} = ({x}.mean(0) + 0.1) * torch.exp(0.3 * torch.randn({shape}, device={x}.device, dtype={x}.dtype))",
    ),
    ("Exponential", "rate"): (
        "{p} = torch.exp(0.3 * torch.randn({shape}, device={x}.device, dtype={x}.dtype)) / ({x}.mean(0) + 0.1)",
    ),
}
