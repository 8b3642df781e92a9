"""Draws of what a fit leaves uncertain: parameters by the observed information, latents that rows share by their guides.

Of a fit by maximum likelihood (or of point estimates), Laplace draws: normal around the maximum in the space in which
parameters are stored, with the inverse of the observed information. Directions that the data do not decide, and numbers at the
end of their domain, stay where they are. Of shared latents with guides, draws of these beside the fitted parameters.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from vispec.model.problems import listed
from vispec.plan.planned import Plan
from vispec.plan.planner import plan_of
from vispec.train.data import Dataset
from vispec.train.errors import RunError
from vispec.train.estimates.labels import Label, Labels
from vispec.train.estimates.make import Fitted, Say, differentiable, missed, points
from vispec.train.estimates.nodes import Node, nodes_of
from vispec.train.estimates.uncertainty.numbers import Whole
from vispec.train.estimates.uncertainty.standard import KEPT, observe
from vispec.train.scores.counted import weighed, weight_of
from vispec.train.store.module import evaluating, to_device
from vispec.train.store.run import Run

LOG_P, LOG_Q = "(log_p)", "(log_q)"  # as `shared_draws` of a module calls them
AT_ONCE = 1024  # rows, or a minibatch of the fit where that is larger
DRAWS = 1000

Axes = tuple[tuple[str, tuple[Label, ...]], ...]
"""The name of each axis after that of the draws, and the labels along it."""


@dataclass(frozen=True, eq=False)
class Draws:
    """values: by name, in the space of the spec's types (S, *plates, *event), in float64. log_q (S,): the log-density of each
    draw under what it is drawn from; of guides in the space of the types, else in that in which parameters are stored, along
    what is identified. kind: what it is drawn from. held: puts a draw into the module while it is entered. log_prior (S,): of
    guides, log p of the draw. training: the rows that were fitted. size: how many rows the module takes at once."""

    kind: Literal["laplace", "guide", "fixed"]
    run: Run
    module: nn.Module
    device: torch.device
    values: Mapping[str, Tensor]
    axes: Mapping[str, Axes]
    log_q: Tensor
    held: Callable[[int], AbstractContextManager[None]]
    training: Dataset | None
    seed: int
    log_prior: Tensor | None = None

    @property
    def count(self) -> int:
        return len(self.log_q)

    @property
    def size(self) -> int:
        return max(AT_ONCE, self.run.config.settings.batch or 1)

    @cached_property
    def log_p(self) -> Tensor:
        """The joint log-density (S,) of the training data and each draw, up to a constant."""
        if self.training is None:
            raise RunError("no log-densities of draws: the training data are not there")
        found = torch.empty(self.count, dtype=torch.float64)
        for i in range(self.count):
            with self.held(i):
                found[i] = self.of_rows(self.training)
        return found if self.log_prior is None else found + self.log_prior

    def of_rows(self, data: Dataset) -> float:
        """Of all rows, as many as they stand for, and of point estimates, given what the module holds."""
        found, module = 0.0, self.module
        with evaluating(module, self.seed, self.device):
            for indices in data.order(self.size, None, bucket=True):
                batch = to_device(data.batch(indices), self.device)
                rows = module.log_prob(batch).double()  # pyright: ignore[reportCallIssue]
                found += float(weighed(rows, batch, weight_of(data)).sum())
            if self.kind != "guide" and hasattr(module, "shared"):
                found += float(module.shared()[-1])  # pyright: ignore[reportCallIssue]
        return found


def draw(run: Run, training: Dataset | None, device: torch.device, count: int, seed: int, say: Say) -> Draws:
    """So many draws. training: the rows that the run was fitted to, None where they are gone. RunError where there is nothing
    to draw from, with the reason."""
    module, plan = run.load(torch.device("cpu")).double().eval(), plan_of(run.model)
    training = None if training is None else training.in_precision("float64")
    if plan.exact:
        return laplace(run, plan, module, training, device, count, seed, say)
    if plan.bayesian_nets:
        raise RunError(
            f"the weights of {listed(plan.bayesian_nets)} are drawn anew in each call, and none can be kept as a draw"
        )
    if not hasattr(module, "shared_draws"):
        if any(plan.treatments[name].gradient != "point" for name in plan.shared_latents):
            raise RunError(
                f"the module of {run.folder} tells no densities of its draws: it is of an earlier version; fit it again"
            )
        raise RunError("the objective is a bound and not a likelihood, so that it does not say how uncertain parameters are")
    return guided(run, plan, module, training, device, count, seed)


# ---- by the observed information


def laplace(
    run: Run, plan: Plan, module: nn.Module, data: Dataset | None, device: torch.device, count: int, seed: int, say: Say
) -> Draws:
    """Normal draws around the maximum."""
    config, model = run.config, run.model
    nodes = [*nodes_of(model, module), *points(plan, module)]
    found = differentiable(
        Fitted(model, module, run.encoders, config.gathered, {}, config.rows, config.settings.batch or 1, say), data
    )
    if found == KEPT:
        return fixed(run, module, nodes, data, device, count, seed)
    if isinstance(found, str):
        raise RunError(f"no draws of parameters: {found}")
    f, begun = found
    seen = observe(nodes, module, f, begun)
    if seen.observed is None or not seen.arrived:
        raise RunError(f"no draws of parameters: {missed(seen.misses)}")
    told = seen.observed.information
    at, log_q = around(seen.observed.top, told.covariance, told.scale, told.rank, count, seed)
    start = f.vector()
    values = of_vectors(at, f, nodes, module)
    f.put(start)
    module.to(device)

    @contextmanager
    def held(i: int) -> Iterator[None]:
        f.put(at[i])
        try:
            yield
        finally:
            f.put(start)

    return Draws("laplace", run, module, device, values, axes_of(run, nodes, values), log_q, held, data, seed)


def around(top: Tensor, covariance: Tensor, scale: Tensor, rank: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draws (S, d) from the normal law around `top`, and their log-densities (S,) along what is identified, in scaled numbers.
    They are quasi-random (Sobol, scrambled), so that means over them have a fraction of the error of as many random ones."""
    w, directions = torch.linalg.eigh(covariance * scale[:, None] * scale)
    w, directions = w[len(w) - rank :], directions[:, len(w) - rank :]
    noise = normal(count, rank, seed)
    log_q = -0.5 * noise.square().sum(-1) - 0.5 * rank * math.log(2 * math.pi) - 0.5 * w.log().sum()
    return top + noise * w.sqrt() @ directions.T / scale, log_q


def normal(count: int, size: int, seed: int) -> Tensor:
    """Standard normal numbers (S, D)."""
    if not size:
        return torch.zeros(count, 0, dtype=torch.float64)
    uniform = torch.quasirandom.SobolEngine(size, scramble=True, seed=seed).draw(count, dtype=torch.float64)
    return torch.special.ndtri(uniform.clamp(1e-10, 1 - 1e-10))


def of_vectors(at: Tensor, f: Whole, nodes: list[Node], module: nn.Module) -> dict[str, Tensor]:
    """What each of the stored numbers (S, d) is in the space of the types, by name."""
    values = dict[str, list[Tensor]]()
    for x in at:
        f.put(x)
        for node in nodes:
            values.setdefault(node.name, []).append(node.value(module).detach().clone())
    return {name: torch.stack(each) for name, each in values.items()}


def fixed(
    run: Run, module: nn.Module, nodes: list[Node], data: Dataset | None, device: torch.device, count: int, seed: int
) -> Draws:
    """The same values again and again, of a model that leaves nothing to fit."""
    values = {node.name: (value := node.value(module).detach()).expand(count, *value.shape) for node in nodes}
    module.to(device)
    none = torch.zeros(count, dtype=torch.float64)
    return Draws("fixed", run, module, device, values, axes_of(run, nodes, values), none, lambda i: nullcontext(), data, seed)


# ---- by guides


def guided(run: Run, plan: Plan, module: nn.Module, data: Dataset | None, device: torch.device, count: int, seed: int) -> Draws:
    """Draws from the guides of what rows share."""
    model, names = run.model, plan.shared_latents
    with evaluating(module, seed, torch.device("cpu")):
        told = module.shared_draws(count)  # pyright: ignore[reportCallIssue]
        dims = [value.dim() for value in module.shared()[:-1]]  # pyright: ignore[reportCallIssue]
    log_prior, log_q = told.pop(LOG_P).double(), told.pop(LOG_Q).double()
    several = [dim == told[name].dim() for name, dim in zip(names, dims, strict=True)]  # the module has an axis of samples
    module.to(device)
    kept = {name: told[name].to(device) for name in names}

    @contextmanager
    def held(i: int) -> Iterator[None]:
        drawn = tuple(kept[name][i : i + 1] if many else kept[name][i] for name, many in zip(names, several, strict=True))
        module.__dict__["shared"] = lambda: (*drawn, log_prior[i] - log_q[i])  # in the place of the class's method
        try:
            yield
        finally:
            del module.__dict__["shared"]

    nodes = [Node(each.name, each.type, each.plates) for each in (*model.variables, *model.lets) if each.name in told]
    values = {node.name: told[node.name].double() for node in nodes}
    axes = axes_of(run, nodes, values)
    return Draws("guide", run, module, device, values, axes, log_q, held, data, seed, log_prior)


# ---- what is common


def axes_of(run: Run, nodes: list[Node], values: Mapping[str, Tensor]) -> dict[str, Axes]:
    """The axes of each node: plates, then the dimensions of its type by the names of their sizes, of the same ones numbered."""
    labels, model = Labels.of(run.model, run.encoders, run.config.gathered), run.model
    found = dict[str, Axes]()
    for node in nodes:
        told = node.labels(labels, model, tuple(values[node.name].shape[1:])).names
        names = list(node.plates)
        for number, dim in enumerate(node.type.shape):
            names.append(unlike(dim if isinstance(dim, str) else f"{node.name}_{number}", names))
        found[node.name] = tuple(zip(names, told, strict=True))
    return found


def unlike(name: str, taken: list[str]) -> str:
    """The name, with a number where it is taken."""
    return name if name not in taken else next(new for i in range(2, 99) if (new := f"{name}_{i}") not in taken)
