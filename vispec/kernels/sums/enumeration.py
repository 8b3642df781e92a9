"""Sums over all joint values of a plate of latents, in bounded memory and with exact gradients.

Joint value s of L latents with C values each has the digits of s in base C, the first latent's digit lowest. `log_joint(index)`
takes numbers s (S,) and returns log-joints (*B, S).
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.logsum import log_sum_exp


def digits(index: Tensor, latents: int, values: int) -> Tensor:
    """The joint values themselves (S, L), of index's dtype."""
    if values == 2:
        return index[:, None] >> torch.arange(latents, device=index.device) & 1  # a shift by 63 or more leaves nothing
    places = [values**place for place in range(latents) if values**place < 2**62]  # any index is smaller than the rest
    found = index[:, None] // torch.tensor(places, device=index.device) % values
    return torch.nn.functional.pad(found, (0, latents - len(places)))


def chunks(count: int, size: int, device: torch.device) -> list[Tensor]:
    """0 .. count - 1 in pieces of at most `size`."""
    return [torch.arange(start, min(start + size, count), device=device) for start in range(0, count, size)]


def values_at_once(bytes_each: int, memory: int, device: torch.device) -> int:
    """How many joint values to take at a time, of so many bytes each; on a CPU no more than its caches hold."""
    return max(1, (min(memory, 2**24) if device.type == "cpu" else memory) // bytes_each)


def seeded(log_joint, seed: int, *inputs):
    """log_joint(*inputs) with the same draws in every pass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return log_joint(*inputs)


def same_draws(log_joint):
    """log_joint with the same draws in every pass, such as those of dropout; while it is compiled there is one pass."""
    if torch.compiler.is_compiling():
        return log_joint
    seed = int(torch.randint(2**62, ()))
    return lambda *inputs: seeded(lambda: log_joint(*inputs), seed)


class ChunkedLogSum(torch.autograd.Function):
    """log Σ_s exp(log_joint(s)), twice over the chunks: for the sum, then for gradients, each chunk's by its posterior."""

    @staticmethod
    def forward(ctx, log_joint, parts, read, *tensors):  # the first `read` tensors are arguments of log_joint
        ctx.log_joint, ctx.parts, ctx.read = log_joint, parts, read
        sums = [log_joint(index, *tensors[:read]).logsumexp(-1) for index in parts]
        log_z = torch.stack(sums).logsumexp(0)
        ctx.save_for_backward(log_z, *tensors)
        return log_z

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        log_z, *tensors = ctx.saved_tensors
        tensors[: ctx.read] = [x.detach().requires_grad_(x.requires_grad) for x in tensors[: ctx.read]]
        wanted = [x for x in tensors if x.requires_grad]
        sums = [torch.zeros_like(x) for x in wanted]
        level = log_z.masked_fill(log_z == -torch.inf, 0.0).unsqueeze(-1)
        for index in ctx.parts:
            with torch.enable_grad():
                log_joint = ctx.log_joint(index, *tensors[: ctx.read])
            weight = (log_joint.detach() - level).clamp_(min=-80.0).exp_()
            weight = torch.threshold_(weight, 2e-35, 0.0) * grad.unsqueeze(-1)
            for total, part in zip(sums, torch.autograd.grad(log_joint, wanted, weight, allow_unused=True), strict=True):
                if part is not None:
                    total += part
        found = iter(sums)
        return None, None, None, *(next(found) if x.requires_grad else None for x in tensors)


def enumerated_log_sum(log_joint, context: tuple[Tensor, ...], count: int, bytes_each: int, memory: int, parameters) -> Tensor:
    """log Σ_s exp(log_joint(s, *context)) (*B) over s < count; `parameters()` are what else log_joint reads.

    Each s keeps `bytes_each` for the gradient. Where all of them together exceed `memory`, they are computed twice instead."""
    device = (context or tuple(parameters()))[0].device
    size = values_at_once(bytes_each, memory, device)
    if count <= size or torch.compiler.is_compiling():
        return log_sum_exp(log_joint(torch.arange(count, device=device), *context))
    parts = chunks(count, size, device)
    if count * bytes_each > memory:
        return ChunkedLogSum.apply(log_joint, parts, len(context), *context, *parameters())
    return log_sum_exp(torch.cat([log_joint(index, *context) for index in parts], -1))


def every_log_joint(log_joint, context: tuple[Tensor, ...], count: int, size: int, device: torch.device) -> Tensor:
    """log_joint of every s (*B, count), without gradients."""
    with torch.no_grad():
        return torch.cat([log_joint(index, *context) for index in chunks(count, size, device)], -1)


def number_of_joint_values(latents: int, values: int, limit: int) -> int:
    """values ** latents. Raises ValueError past `limit`."""
    count = values**latents
    if count > limit:
        raise ValueError(f"{latents} latents of {values} values have {count} joint values; at most {limit} are enumerated")
    return count
