"""What spec and user say of where a fit starts, by the names of the spec: written starts, `--params FILE`, what is fixed.

Values are in the space of a parameter's type; what is stored of them is computed in float64, so that a fixed number is the one
that was written.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vispec.model.model import Model, Param, Ref
from vispec.model.problems import did_you_mean, listed
from vispec.model.types import Type
from vispec.model.values.starts import evaluate, outside
from vispec.named import called, get, has, put, stored
from vispec.plan.guides import point_name, point_of
from vispec.plan.planner import plan_of
from vispec.train.errors import RunError
from vispec.train.store.checkpoint import Tensors


def holders(model: Model) -> dict[str, Param]:
    """What holds the numbers of each parameter, and of each latent that is a point estimate; not of those between ends, of
    which a share of the way is stored."""
    found = {param.name: param for param in model.params}
    plan = plan_of(model)
    for name, treatment in plan.treatments.items():
        if treatment.gradient == "point" and isinstance(point_of(plan.model.variable[name], plan.model), Ref):
            found[name] = plan.model.param[point_name(plan.model.variable[name], plan.model)]
    return found


def fix(module: nn.Module, model: Model) -> nn.Module:
    """The module, whose parameters that `fit: fixed` names need no gradient."""
    if model.fixed:
        fixed = fixed_parameters(module, model)
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name not in fixed)
    return module


def fixed_parameters(module: nn.Module, model: Model) -> set[str]:
    """Names of the module's parameters that `fixed` names, nets and point estimates whole."""
    plan = plan_of(model)
    held = {param.name: param for param in model.params}
    held |= {
        name: plan.model.param[point_name(plan.model.variable[name], plan.model)]
        for name, treatment in plan.treatments.items()
        if treatment.gradient == "point"
    }
    names = {name: stored(module, plan.model, param) for name, param in held.items()}
    whole = {names.get(name, called(module, name)) for name in model.fixed}
    return {name for name, _ in module.named_parameters() if name in whole or name.split(".")[0] in whole}


def written(model: Model, sizes: Mapping[str, int], module: nn.Module) -> Tensors:
    """What is stored at the starts that the spec writes."""
    found: Tensors = {}
    for param in model.params:
        name = stored(module, model, param)
        if param.value is not None and name in module.state_dict():
            value = torch.tensor(evaluate(param.value, sizes), dtype=torch.float64)
            found[name] = as_stored(param, name, value, module)
    return found


def as_stored(param: Param, name: str, value: Tensor, module: nn.Module) -> Tensor:
    """What is stored, under a name, of a value that broadcasts to a parameter's own shape, in float64. The module keeps its
    numbers."""
    kept = module.state_dict()[name].clone()
    dtype = kept.dtype
    module.double()
    place = module.state_dict()[name]
    put(module, param.name, value.expand_as(get(module, param.name)))
    found = place.clone()
    place.copy_(kept)
    module.to(dtype)
    return found


@dataclass(frozen=True)
class Values:
    """Values of parameters by name, or what `vispec params --json` prints. name: under which a run remembers them. title: what
    a message calls them."""

    name: str
    title: str
    content: Mapping[str, Any]


def read_params(path: Path) -> Values:
    """Those of a JSON file; RunError where it is none."""
    title = f"--params {path}"
    try:
        found = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{title}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{title}: it is no JSON: {error.msg} in line {error.lineno}") from error
    if not isinstance(found, dict) or not found:
        raise RunError(f'{title}: expected an object of values by name, {{"mu": 2.5}}, or the output of params --json')
    return Values(str(path), title, found)


def stored_params(values: Values, model: Model, module: nn.Module) -> Tensors:
    """What is stored of values; RunError where one has no parameter, or another shape or domain."""
    title, found = values.title, values.content
    known, state = holders(model), module.state_dict()
    entries = found.get("parameters")
    printed = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if printed:
        found = {name: value for name, value in gathered(title, entries or ()).items() if name in known}
    out: Tensors = {}
    for name, value in found.items():
        param = known.get(name)
        if param is None or stored(module, model, param) not in state:
            help = did_you_mean(name, known, f"it has {listed(known)}" if known else None)
            raise RunError(f"{title}: this model has no parameter `{name}`{f'; {help}' if help else ''}")
        told, at = checked(title, name, param, value, module, name in model.fixed), stored(module, model, param)
        out[at] = as_stored(param, at, told, module)
    if not out:
        raise RunError(f"{title}: none of its values is a parameter of this model")
    return out


def gathered(title: str, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Nested lists of what `params --json` lists number by number."""
    cells: dict[str, dict[tuple[int, ...], float]] = {}
    try:
        for entry in entries:
            cells.setdefault(entry["name"], {})[tuple(entry["index"])] = entry["estimate"]
    except (KeyError, TypeError) as error:
        raise RunError(f"{title}: an entry of `parameters` lacks a name, an index or an estimate") from error
    return {name: nested(title, name, values) for name, values in cells.items()}


def nested(title: str, name: str, values: Mapping[tuple[int, ...], float]) -> Any:
    shape = tuple(max(index[i] for index in values) + 1 for i in range(len(next(iter(values)))))
    if set(values) != set(product(*(range(size) for size in shape))):
        raise RunError(f"{title}: some of the numbers of `{name}` are missing")
    flat = torch.tensor([values[index] for index in product(*(range(size) for size in shape))], dtype=torch.float64)
    return flat.view(shape).tolist()


def checked(title: str, name: str, param: Param, value: Any, module: nn.Module, fixed: bool) -> Tensor:
    """A value as numbers (*plates, *event), one for all of them or each; RunError where it has another shape or domain."""
    shape = tuple(get(module, param.name).shape)
    try:
        numbers = torch.tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{title}: `{name}` must be a number, or lists of numbers") from error
    if numbers.dim() and tuple(numbers.shape) != shape:
        raise RunError(f"{title}: `{name}` has shape {tuple(numbers.shape)} there and {shape} in this model")
    event = shape[len(param.plates) :]
    whole = numbers.expand(shape)
    for cell in whole.reshape(-1, *event):
        problem = outside(frozen(cell.tolist()), Type(param.type.domain), fixed, event[-1] if event else None)
        if problem is not None:
            raise RunError(f"{title}: `{name}` is {param.type}, and its value is not: {problem}")
    return numbers


def frozen(value: Any) -> Any:
    """Lists as tuples."""
    return tuple(map(frozen, value)) if isinstance(value, list) else float(value)


def by_chance(model: Model, module: nn.Module, given: Mapping[str, Tensor]) -> list[str]:
    """Fixed parameters and tables whose start nobody has said."""
    places = {name: stored(module, model, param) for name, param in holders(model).items()}
    places |= {t.name: f"{called(module, t.name)}.weight" for t in model.embeddings if has(module, t.name)}
    return [name for name in model.fixed if name in places and places[name] not in given]
