"""What all rows share: latents outside the data plate, and the weights of nets that have a prior. The module's own draws, and
what they add to the bound, log p − log q, by the definitions of laws and guides.

A row's density is compared given these draws. The weights of a net are random for each row apart: they belong to its noise."""

import math
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Generator, Tensor
from torch import distributions as dist

from vispec.catalog import distributions
from vispec.estimators import estimators
from vispec.model import model as m
from vispec.model.model import Model, Variable
from vispec.named import get, put
from vispec.seeds import reseed
from vispec.verify.bounds.recorder import Recorder
from vispec.verify.build import Built, Emitted
from vispec.verify.errors import NotCheckedError
from vispec.verify.oracle.densities import chosen, log_density, torch_family
from vispec.verify.oracle.expressions import Scene, evaluate
from vispec.verify.oracle.reads import draws_of
from vispec.verify.oracle.row import ENUMERABLE, Cell, Row, in_data, place_of, shape_of
from vispec.verify.oracle.weights import divergence_of_weights, random_layers

Assignment = Mapping[Cell, Tensor]


@dataclass(frozen=True)
class Shared:
    """One call of the module's `shared()`. passed: what it returned, as `log_prob` takes it; empty where rows share nothing.
    samples: each sample's value of every shared cell. noise: Normal draws that it made."""

    passed: tuple[Tensor, ...]
    samples: tuple[Assignment, ...]
    noise: tuple[Tensor, ...]

    @property
    def log_ratio(self) -> Tensor:
        """log p − log q of all that rows share, (), as the module has it."""
        return self.passed[-1]


NOTHING = Shared((), ({},), ())


def shared_variables(model: Model) -> list[Variable]:
    """Latents outside the data plate."""
    return [v for v in model.variables if v.role == "latent" and not in_data(model, v.plates)]


def shares(built: Built) -> bool:
    """Whether rows share anything that is drawn or has a prior, and that some of them read."""
    return hasattr(built.module, "shared")


def with_narrow_guides(built: Built) -> Built:
    """A copy in which the guides of what rows share are narrow: means over draws tell more there."""
    narrow = replace(built, module=deepcopy(built.module))
    own = {variable.name for variable in shared_variables(built.model)}
    laws = [draw for entry in built.model.guide if entry.name in own for draw in draws_of(entry.law)]
    done: set[str] = set()
    for head, part in (argument for draw in laws for argument in draw.args):
        for name, in_logs in scaling(part, built.model) if head in NARROWER else ():
            if name not in done:
                value = get(built.module, name).detach()
                put(narrow.module, name, value + math.log(NARROWER[head]) if in_logs else NARROWER[head] * value)
                done.add(name)
    for random in random_layers(narrow):
        for name in random.guides:
            random.layer.get_parameter(f"raw_{name}_scale").data.sub_(3)
    return narrow


def scaling(part: m.Expression, model: Model) -> Iterator[tuple[str, bool]]:
    """The parameters that an expression is proportional to, and whether they are its logarithm: of mean · exp(log_total), the
    last; a mean, which lies between ends, scales nothing."""
    if isinstance(part, m.Ref) and part.name in model.param and part.type.domain == "positive":
        yield part.name, False
    elif isinstance(part, m.Apply) and part.function == "*":
        for factor in part.args:
            yield from scaling(factor, model)
    elif isinstance(part, m.Apply) and part.function == "exp":
        (inner,) = part.args
        if isinstance(inner, m.Ref) and inner.name in model.param:
            yield inner.name, True


NARROWER = {"scale": 0.1, "concentration": 20.0, "concentration0": 20.0, "concentration1": 20.0}
"""Factors of the parameters that say how wide a guide is."""


def draw_shared(built: Built, row: Row, seed: int = 0) -> Shared:
    """The module's draw under a seed, the same for the same parameters."""
    if not hasattr(built.module, "shared"):
        return NOTHING
    with torch.random.fork_rng(devices=[]), Recorder() as recorder:
        reseed(seed)
        passed = built.module.shared()
    named = returned(built.module)
    several = [len(value) for (_, many), value in zip(named, passed[:-1], strict=True) if many]
    samples = [
        {
            cell: (value[s] if many else value)[cell[1]]
            for (name, many), value in zip(named, passed[:-1], strict=True)
            for cell in row.cells(built.model.variable[name])
        }
        for s in range(max(several, default=1))
    ]
    return Shared(passed, tuple(samples), tuple(recorder.noise))


def returned(module: Emitted) -> list[tuple[str, bool]]:
    """The latents that `shared()` returns, in order, and whether each has an axis of samples: its docstring says it."""
    text = (module.shared.__doc__ or "").split("; ")[:-1]
    return [(part.split(" (")[0], "(s*" in part) for part in text]


# ---- log p − log q


def log_ratio(built: Built, row: Row, shared: Shared, forms: Mapping[str, bool], joint: tuple[Tensor, ...]) -> Tensor:
    """What it must be, () in nats: the mean over samples. `forms` says of which latents the divergence is analytic; joint: the
    noise of the joint guide, one for each sample, if there is one."""
    found = []
    for index, values in enumerate(shared.samples):
        part = sample_ratio(built, row, values, forms)
        found.append(part - log_q_joint(built, joint[index]) if joint else part)
    return torch.stack(found).mean() - divergence_of_weights(built)


def sample_ratio(built: Built, row: Row, values: Assignment, forms: Mapping[str, bool]) -> Tensor:
    """The part of one sample that is not the joint guide's or the weights'."""
    model, laws = built.model, {entry.name: entry.law for entry in built.model.guide}
    scene, held = Scene(model, built.module, row), Scene(model, built.module, row)
    scene.assignment = held.assignment = values
    held.parameters = {param.name: get(built.module, param.name).detach() for param in model.params}
    total = torch.zeros((), dtype=torch.float64)
    for variable in model.variables:
        if variable.law is None or in_data(model, variable.plates) or drawn_from_prior(model, variable, laws):
            continue
        guide = laws.get(variable.name) if variable.role == "latent" else None
        stl = gradient_setting(model, variable.name) == "stl"
        for cell in row.cells(variable):
            at = place_of(model, variable, cell)
            if guide is not None and forms[variable.name]:
                total = total - _divergence(variable, guide, at, scene, row)
                continue
            total = total + log_density(variable, variable.law, at, scene)
            if guide is not None:
                total = total - log_density(variable, guide, at, held if stl else scene)
    return total


def drawn_from_prior(model: Model, variable: Variable, laws: Mapping[str, m.Law]) -> bool:
    """A latent with neither a guide nor a point is drawn from its own law, and adds nothing."""
    point = any(estimators()[infer.estimator.name].point for infer in model.infer if infer.name == variable.name)
    joint = model.joint is not None and variable.name in model.joint.names
    return variable.role == "latent" and variable.name not in laws and not point and not joint


def gradient_setting(model: Model, name: str) -> str:
    """How a latent's estimator asks for its gradient."""
    settings = next((dict(infer.estimator.settings) for infer in model.infer if infer.name == name), {})
    return str(settings.get("gradient", "pathwise"))


def _divergence(variable: Variable, guide: m.Law, at: Mapping[str, int], scene: Scene, row: Row) -> Tensor:
    """KL(guide ‖ law) of one cell; NotImplementedError where torch has no closed form."""
    assert variable.law is not None
    shape = shape_of(variable.type, row.sizes)
    q, p = (torch_family(chosen(variable, law, at, scene), at, scene, shape) for law in (guide, variable.law))
    return dist.kl_divergence(*(f.expand(torch.Size(shape[: len(shape) - len(f.event_shape)])) for f in (q, p))).sum()


def forms_of(built: Built) -> Iterator[dict[str, bool]]:
    """Every choice of which guided shared latents have an analytic divergence."""
    guided = {entry.name for entry in built.model.guide}
    names = [v.name for v in shared_variables(built.model) if v.name in guided]
    for analytic in product((False, True), repeat=len(names)):
        yield dict(zip(names, analytic, strict=True))


# ---- the joint guide


def joint_noise(built: Built, shared: Shared) -> tuple[Tensor, ...]:
    """The noise of each sample of the joint guide, (D) each; none without such a guide."""
    if built.model.joint is None or not built.model.joint.names:
        return ()
    size = getattr(built.module, built.model.joint.attribute).noise
    count = len(shared.samples)
    found = [n for n in shared.noise if n.shape in ((count, size), (size,))]
    if len(found) != 1:
        raise NotCheckedError(f"{len(found)} draws of noise look like that of the joint guide")
    return tuple(found[0].reshape(count, size))


def joint_values(built: Built, row: Row, noise: Tensor) -> dict[Cell, Tensor]:
    """The values of all cells of the joint guide for this noise, by the definition of each domain's map."""
    model = built.model
    assert model.joint is not None
    raw = getattr(built.module, model.joint.attribute)(noise)[0]
    values: dict[Cell, Tensor] = {}
    scene = Scene(model, built.module, row)
    scene.assignment = values
    for name in model.joint.names:
        variable = model.variable[name]
        simplex = variable.type.domain == "simplex"
        shape = shape_of(variable.type, row.sizes)
        free = (*shape[:-1], shape[-1] - 1) if simplex else shape
        for cell in row.cells(variable):
            size = torch.Size(free).numel()
            own, raw = raw[:size].reshape(free), raw[size:]
            low, high = ends_at(variable, cell, scene)
            if low is None:
                values[cell] = MAPS[variable.type.domain](own)
            else:
                values[cell] = low + (own.exp() if high is None else (high - low) * MAPS["unit"](own))
    return values


def ends_at(variable: Variable, cell: Cell, scene: Scene) -> tuple[Tensor | None, Tensor | None]:
    """The ends of the law of one cell, where it has others than its domain."""
    assert variable.law is not None
    at = place_of(scene.model, variable, cell)
    law = chosen(variable, variable.law, at, scene)
    args = dict(law.args)
    low, high = (
        None if end is None or end not in args else evaluate(args[end], at, scene).double()
        for end in distributions()[law.distribution].bounds
    )
    return low, high


MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "real": lambda raw: raw,
    "positive": lambda raw: raw.exp(),
    "unit": lambda raw: 1 / (1 + (-raw).exp()),
    "simplex": lambda raw: torch.cat((raw, torch.zeros_like(raw[..., :1])), -1).softmax(-1),
}


def log_q_joint(built: Built, noise: Tensor) -> Tensor:
    """log q of the values that this noise becomes: log N(noise) − log |det ∂ values / ∂ noise|; where there is more noise than
    values, the Gaussian of their unconstrained numbers, which are affine in it. A simplex counts without its last number."""
    row = Row(built.model, built.sizes, {}, {})
    guide = getattr(built.module, str(built.model.joint and built.model.joint.attribute))

    def raw(noise: Tensor) -> Tensor:
        return guide(noise)[0]

    def free(noise: Tensor) -> Tensor:
        values = joint_values(built, row, noise)
        simplices = {v.name for v in built.model.variables if v.type.domain == "simplex"}
        return torch.cat([(value[..., :-1] if name in simplices else value).flatten() for (name, _), value in values.items()])

    slope = torch.autograd.functional.jacobian(raw, noise, create_graph=True)
    whole = torch.autograd.functional.jacobian(free, noise, create_graph=True)
    assert isinstance(slope, Tensor)
    assert isinstance(whole, Tensor)
    if slope.shape[0] == slope.shape[1]:
        return dist.Normal(0.0, 1.0).log_prob(noise).sum() - torch.linalg.slogdet(whole).logabsdet
    covariance = slope @ slope.T
    gain = 0.5 * (torch.linalg.slogdet(whole @ whole.T).logabsdet - torch.linalg.slogdet(covariance).logabsdet)
    return dist.MultivariateNormal(raw(torch.zeros_like(noise)), covariance).log_prob(raw(noise)) - gain


# ---- own draws


@torch.no_grad()
def own_draw(built: Built, row: Row, generator: Generator) -> tuple[dict[Cell, Tensor], Tensor]:
    """Values of every shared cell drawn from the guides, and log p − log q of them and, in closed form, of random weights."""
    model = built.model
    laws = {entry.name: entry.law for entry in model.guide}
    noise: tuple[Tensor, ...] = ()
    values: dict[Cell, Tensor] = {}
    if model.joint is not None and model.joint.names:
        size = getattr(built.module, model.joint.attribute).noise
        noise = (torch.randn(size, dtype=torch.float64, generator=generator),)
        values |= joint_values(built, row, *noise)
    scene = Scene(model, built.module, row)
    for variable in (v for name in model.order if (v := model.variable.get(name)) in shared_variables(model)):
        for cell in row.cells(variable):
            if cell not in values:
                scene.assignment = values
                values[cell] = _drawn(variable, laws, cell, scene, row)
    ratio = sample_ratio(built, row, values, dict.fromkeys((v.name for v in shared_variables(model)), False))
    if noise:
        with torch.enable_grad():
            ratio = ratio - log_q_joint(built, *noise).detach()
    return values, ratio - divergence_of_weights(built)


def _drawn(variable: Variable, laws: Mapping[str, m.Law], cell: Cell, scene: Scene, row: Row) -> Tensor:
    """A draw from the guide, or from the latent's own law; or its point."""
    point = f"{variable.name}_point"
    if variable.name not in laws and point in scene.model.param:
        stored, (low, high) = scene.parameter(point)[cell[1]], ends_at(variable, cell, scene)
        return stored if low is None else low + (stored if high is None else (high - low) * stored)
    law = laws.get(variable.name, variable.law)
    assert law is not None
    at = place_of(scene.model, variable, cell)
    return draw_from(variable, chosen(variable, law, at, scene), at, scene, row)


def draw_from(variable: Variable, law: m.Draw, at: Mapping[str, int], scene: Scene, row: Row) -> Tensor:
    """One value of a continuous variable from this law."""
    if variable.type.domain in ENUMERABLE:
        raise NotCheckedError(f"draws of `{variable.name}`, which is finite")
    shape = shape_of(variable.type, row.sizes)
    sampler = distributions()[law.distribution].sampler
    if sampler is not None:
        return sampler(*(evaluate(part, at, scene).double().expand(shape) for _, part in law.args))
    family = torch_family(law, at, scene, shape)
    return family.sample(torch.Size(shape[: len(shape) - len(family.batch_shape) - len(family.event_shape)]))
