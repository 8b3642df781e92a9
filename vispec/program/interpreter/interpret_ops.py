"""How the interpreter computes each operation. Where no gradient arrives none is sent on, whatever the derivative is there: a
branch that is not taken and a term of probability 0 have gradient 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from typing import TYPE_CHECKING, Any, cast

from vispec.catalog import BOUNDS, Distribution, distributions
from vispec.lazy import torch
from vispec.program.axis import ordered
from vispec.program.node import Density, Draw, Noise

if TYPE_CHECKING:
    from torch import Tensor


@cache
def _guarded() -> Any:
    class Guarded(torch.autograd.Function):
        """An elementwise function of arguments of one shape."""

        @staticmethod
        def forward(ctx: Any, function: Any, *args: Tensor) -> Tensor:
            ctx.function = function
            ctx.save_for_backward(*args)
            return function(*args)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            args = [each.detach().requires_grad_(each.is_floating_point()) for each in ctx.saved_tensors]
            with torch.enable_grad():
                out = ctx.function(*args)
            wanted = [each for each in args if each.requires_grad]
            found = iter(torch.autograd.grad(out, wanted, torch.ones_like(out), allow_unused=True))
            sent = [next(found) if each.requires_grad else None for each in args]
            return (None, *(each if each is None else torch.where(grad == 0, 0.0, grad * each) for each in sent))

    return Guarded


def guarded(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An elementwise function that sends no gradient where none arrives."""

    def call(*args: Tensor) -> Tensor:
        if not any(each.requires_grad for each in args):
            return function(*args)
        return _guarded().apply(function, *torch.broadcast_tensors(*args))

    return call


def _number(x: Tensor) -> Tensor:
    return x.long() if x.dtype == torch.bool else x


def _real(x: Tensor) -> Tensor:
    return x.double()


def _all_real(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return guarded(lambda *args: function(*map(_real, args)))


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return guarded(lambda *args: reduce(function, map(_number, args)))


def _widened(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """For comparisons: of mixed kinds as real numbers."""

    def call(*args: Tensor) -> Tensor:
        kinds = {each.dtype for each in args}
        return function(*(args if len(kinds) == 1 else map(_real, args)))

    return call


MAPS: dict[str, Callable[..., Tensor]] = {
    "add": _fold(lambda x, y: x + y),
    "mul": _fold(lambda x, y: x * y),
    "sub": _fold(lambda x, y: x - y),
    "div": _all_real(lambda x, y: x / y),
    "floor_div": _fold(lambda x, y: torch.div(x, y, rounding_mode="floor")),
    "mod": _fold(lambda x, y: torch.remainder(x, y)),
    "neg": guarded(lambda x: -_number(x)),
    "pow": _all_real(lambda x, y: x**y),
    "int_pow": lambda x, y: x.long() ** y.long(),
    "square": guarded(lambda x: _number(x) ** 2),
    "abs": guarded(lambda x: _number(x).abs()),
    "sign": guarded(lambda x: _number(x).sign()),
    "exp": _all_real(lambda x: x.exp()),
    "expm1": _all_real(lambda x: x.expm1()),
    "log": _all_real(lambda x: x.log()),
    "log1p": _all_real(lambda x: x.log1p()),
    "sqrt": _all_real(lambda x: x.sqrt()),
    "sigmoid": _all_real(lambda x: x.sigmoid()),
    "log_sigmoid": _all_real(lambda x: torch.nn.functional.logsigmoid(x)),
    "softplus": _all_real(lambda x: torch.logaddexp(x, torch.zeros_like(x))),
    "tanh": _all_real(lambda x: x.tanh()),
    "sin": _all_real(lambda x: x.sin()),
    "cos": _all_real(lambda x: x.cos()),
    "erf": _all_real(lambda x: x.erf()),
    "ndtr": _all_real(lambda x: torch.special.ndtr(x)),
    "lgamma": _all_real(lambda x: x.lgamma()),
    "floor": _all_real(lambda x: x.floor()),
    "round": _all_real(lambda x: x.round()),
    "min": guarded(lambda *args: reduce(torch.minimum, args)),
    "max": guarded(lambda *args: reduce(torch.maximum, args)),
    "eq": _widened(lambda x, y: x == y),
    "lt": _widened(lambda x, y: x < y),
    "le": _widened(lambda x, y: x <= y),
    "and": lambda *args: reduce(torch.logical_and, args),
    "or": lambda *args: reduce(torch.logical_or, args),
    "not": lambda x: x.logical_not(),
    "where": lambda test, then, otherwise: torch.where(test, then, otherwise),
    "real": _real,
    "wide": _real,
    "narrow": _real,
    "int": lambda x: x.long(),
    "bool": lambda x: x.bool(),
}


def log_sum_exp(x: Tensor) -> Tensor:
    """Over the last dimension; of nothing, and where all is -inf, -inf with gradient 0."""
    if x.shape[-1] == 0:
        return x.sum(-1) - torch.inf
    most = x.detach().amax(-1, keepdim=True)
    most = most.masked_fill(most == -torch.inf, 0.0)
    total = guarded(torch.exp)(x - most).sum(-1)
    possible = total > 0
    return torch.where(possible, torch.where(possible, total, 1.0).log() + most.squeeze(-1), -torch.inf)


EMPTY = {"sum": 0, "log_sum_exp": -float("inf"), "total": -float("inf"), "max": -float("inf"), "min": float("inf")}


def reduced(op: str, x: Tensor, dims: int, inside: Tensor | None) -> Tensor:
    """Over the last `dims` dimensions, of what is inside."""
    if op in ("all", "any"):
        x = x if inside is None else torch.where(inside, x, op == "all")
        return x.flatten(-dims).all(-1) if op == "all" else x.flatten(-dims).any(-1)
    if inside is not None:
        empty = EMPTY[op] if x.is_floating_point() else {"max": -(2**62), "min": 2**62}.get(op, 0)
        x = torch.where(inside, x, torch.as_tensor(empty, dtype=x.dtype))
    x = _number(x).reshape(*x.shape[: x.dim() - dims], -1)
    if op == "sum":
        return x.sum(-1)
    if op in ("log_sum_exp", "total"):
        return log_sum_exp(x)
    extreme = torch.Tensor.amax if op == "max" else torch.Tensor.amin
    none = x.isnan().any(-1, keepdim=True)  # where it is no number, none of them is it, and torch divides by their count
    return torch.where(none.squeeze(-1), torch.nan, extreme(torch.where(none, 0.0, x), -1)) if none.any() else extreme(x, -1)


def linked(op: str, x: Tensor, inside: Tensor | None) -> Tensor:
    """A link function along the last dimensions."""
    if op in ("softmax", "log_softmax"):
        x = x if inside is None else torch.where(inside, x, -torch.inf)
        log_p = x - log_sum_exp(x).unsqueeze(-1)
        return guarded(torch.exp)(log_p) if op == "softmax" else log_p
    from vispec.kernels import constraints

    return getattr(constraints, op)(x)


def scanned(op: str, x: Tensor, empty: Tensor) -> Tensor:
    """At each element of the last dimension, the reduction of those before it."""
    if x.shape[-1] == 0:
        return x
    x = _number(x)
    running = x.cumsum(-1) if op == "sum" else (x.cummax(-1) if op == "max" else x.cummin(-1))[0]
    return torch.cat([empty[..., :1].to(running.dtype), running[..., :-1]], -1)


def along(x: Tensor, fill: Tensor, at: int, lag: int) -> Tensor:
    """The element `lag` steps back along dimension `at`."""
    size = x.shape[at]
    first, rest = fill.narrow(at, 0, min(lag, size)), x.narrow(at, 0, max(size - lag, 0))
    return torch.cat([first.to(rest.dtype), rest], at)


def density(node: Density, values: Mapping[Any, Any], world: Any) -> Any:
    """log p by torch.distributions or the entry's kernel, in float64."""
    from vispec.program.interpreter.interpret import Array

    entry = distributions()[node.law]
    axes = ordered(node.axes)
    value = values[node.value].laid((*axes, *node.events)).double()
    params = [values[param].laid((*axes, *own)).double() for _, param, own in node.params]
    assert entry.kernel is not None or entry.torch_class is not None, f"{node.law} has no density"
    if entry.modifier is not None:
        names = [name for name, _, _ in node.params]
        kernel = entry.modifier.kernel
        found = guarded(lambda x, *given: modified(entry, kernel, names, given, x))(value, *params)
    elif entry.kernel is not None:
        function = entry.kernel if node.events else guarded(entry.kernel)
        found = function(value, *params)
    else:
        law = getattr(torch.distributions, entry.torch_class or "")
        found = law(**dict(zip((name for name, _, _ in node.params), params, strict=True))).log_prob(value)
    return Array(found, axes)


def modified(entry: Distribution, function: Any, names: Sequence[str], params: Sequence[Tensor], *first: Tensor) -> Tensor:
    """A modifier's kernel or sampler: the law inside by its kernels, its parameters, and the bounds by name."""
    law = entry.law
    assert law is not None
    inside = tuple(each for each in (law.kernel, law.log_cdf, law.log_survival) if each is not None)
    told = list(zip(names, params, strict=True))
    own = [param for name, param in told if name not in BOUNDS.values()]
    named = {word: param for word, bound in BOUNDS.items() for name, param in told if name == bound}
    return function(*first, inside, *own, **named, whole=law.support in ("count", "bit"))


def drawn(node: Draw | Noise, values: Mapping[Any, Any], world: Any) -> Any:
    """The draw that the world gives for the site, else one of the law's."""
    from vispec.program.interpreter.interpret import Array

    shape = lambda axes: [world.extent(axis) for axis in axes]  # noqa: E731
    if isinstance(node, Noise):
        axes = node.order
        given = world.noise.get(node.site)
        if given is not None:
            return Array(cast("Tensor", given.pop(0)) if isinstance(given, list) else given, axes)
        noise: Any = getattr(torch.empty(shape(axes), dtype=torch.float64), f"{node.law}_")()
        return Array(noise, axes)
    axes = (*ordered(node.axes - {*node.events}), *node.events)
    given = world.noise.get(node.site)
    if given is not None and not callable(given):
        return Array(cast("Tensor", given), axes)
    around = axes[: len(axes) - len(node.events)]
    params = {name: values[param].laid((*around, *own)).double() for name, param, own in node.params}
    if given is not None:
        drawn: Any = given
        return Array(drawn(**params), axes)
    entry = distributions()[node.law]
    if entry.modifier is not None:
        whole = [params[name].expand(shape(around)) for name in params]
        found = modified(entry, entry.modifier.sampler, [*params], whole)
        return Array(found if node.kind == "real" else found.long(), axes)
    law = getattr(torch.distributions, entry.torch_class or "")(**params)
    law = law.expand(shape(around))
    found = law.rsample() if node.pathwise else law.sample()
    return Array(found if node.kind == "real" else found.long(), axes)
