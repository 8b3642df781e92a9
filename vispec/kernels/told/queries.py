"""Posterior queries as gradients: `module.tilted(batch, total, tilt)` is log p of each row (B,) with `tilt` added to the
latents' log-joint and `total` for sums. A tilt has zeros for each latent, (B, *plates, K), the values last.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.algebra import maximum, sampled
from vispec.kernels.sums.enumeration import seeded
from vispec.kernels.sums.logsum import log_sum_exp

QUERIES = "marginals, mode, kbest(5), sample, entropy, kl, and pairs where a latent is a chain"


def ask(
    module, batch: dict[str, Tensor], query: str, tilt: dict[str, Tensor], inside: dict[str, Tensor], one_draw=True, other=None
) -> dict[str, Tensor]:
    """The answer for each latent. marginals: (B, *plates, K); mode, sample: (B, *plates); entropy: that of each marginal
    (B, *plates) and, as "(joint)", that of all latents together (B,); kl: likewise the divergence from `other`'s posterior;
    kbest(k): (B, k, *plates) from the best on, and their log-joints (B, k) as "(log_joint)". inside: which elements of a
    latent's ragged plates count, where it has any. Over several draws of other latents there is no one entropy of all."""
    if query.startswith("kbest("):
        return k_best(module.tilted, batch, tilt, inside, int(query[6:-1]))
    if query == "kl":
        return divergence(module, other, batch, tilt)
    joint = next(iter(tilt.values())).new_zeros(len(next(iter(tilt.values()))))
    entropic = Entropic(joint) if one_draw else log_sum_exp
    algebras = {"marginals": log_sum_exp, "mode": maximum, "sample": sampled, "entropy": entropic}
    if query not in algebras:
        raise ValueError(f"this model answers no query {query!r}; queries are {QUERIES}")
    found, of_all = answer(module.tilted, batch, algebras[query], tilt, joint)[1:]
    if query == "marginals":
        return found
    if query == "entropy":
        shares = {name: torch.nn.functional.normalize(p.clamp(min=0), p=1, dim=-1) for name, p in found.items()}
        each = {name: torch.special.entr(p).sum(-1) for name, p in shares.items()}  # 0 at least: none is more than 1
        return each | {"(joint)": of_all} if one_draw else each
    return {name: p.argmax(-1) for name, p in found.items()}


def divergence(module, other, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> dict[str, Tensor]:
    """KL(p(z | x) || q(z | x)) in nats, p of `module` and q of `other`: that of each marginal (B, *plates), and of all latents
    together (B,) as "(joint)". Raises ValueError where they do not sum out the same latents in the same order."""
    order, theirs = (getattr(each, "sums", None) for each in (module, other))
    if order is None or order != theirs:
        raise ValueError(f"posteriors are compared where both models are exact and sum in the same order: {order} and {theirs}")
    joint = next(iter(tilt.values())).new_zeros(len(next(iter(tilt.values()))))
    q = Entropic(joint)
    by_q = answer(other.tilted, batch, q, tilt)[1]
    by_p, of_all = answer(module.tilted, batch, Entropic(joint, q.shares), tilt, joint)[1:]
    log_q = logs_of(other.tilted, batch, tilt, by_q, by_p)
    for name, p in by_p.items():  # no more than of all: where that is finite, what q excludes and p has is rounding
        p[of_all.isfinite()] *= log_q[name][of_all.isfinite()] > -torch.inf
    return {name: mean_where(p, p.log() - log_q[name]) for name, p in by_p.items()} | {"(joint)": of_all}


@torch.no_grad()
def logs_of(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], q: dict[str, Tensor], p: dict[str, Tensor]) -> dict:
    """log q of marginals q (B, *plates, K) wherever p is positive. One that is too small a number to have all its digits is the
    sum with that value alone, less the sum of all: of each row one at a time."""
    log_z, found = tilted(batch, log_sum_exp, tilt), {name: each.log() for name, each in q.items()}
    for name, log_q in found.items():
        faint = (q[name] < torch.finfo(log_q.dtype).tiny) & (p[name] > 0)
        while faint.any():
            one = faint & (faint.flatten(1).cumsum(1).view_as(faint) == 1)
            bars = tilt[name].masked_fill(one.any(-1, keepdim=True) & ~one, -torch.inf)
            value = tilted(batch, log_sum_exp, tilt | {name: bars}) - log_z
            log_q[one] = value[one.flatten(1).any(1)]
            faint &= ~one
    return found


def mean_where(p: Tensor, value: Tensor, dims: int = 1) -> Tensor:
    """Σ p · value over the last dimensions, where p is 0 whatever the value."""
    return torch.where(p > 0, p * value, 0.0).flatten(-dims).sum(-1)


def answer(tilted, batch: dict[str, Tensor], total, tilt: dict[str, Tensor], *more: Tensor) -> tuple:
    """log p (B,) under the algebra, its gradient for each latent's tilt, and for `more`."""
    inputs = [value.requires_grad_() for value in (*tilt.values(), *more)]
    with torch.enable_grad():
        log_prob = tilted(batch, total, tilt)
        found = torch.autograd.grad(log_prob.sum(), inputs, allow_unused=True, materialize_grads=True)
    return (log_prob.detach(), dict(zip(tilt, found, strict=False)), *found[len(tilt) :])


def pairs(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], chain: dict[str, int]) -> dict[str, Tensor]:
    """p(z[t-1], z[t] | x) of each chain, (B, *plates, K, K) with T - 1 along the chain's own dimension, which `chain` says;
    0 past a chain's length. The tilt has T, its first element is not read."""
    found = answer(lambda batch, _, tilt: tilted(batch, tilt), batch, None, tilt)[1]
    return {name: p.narrow(chain[name], 1, p.shape[chain[name]] - 1) for name, p in found.items()}


def mean_of(tilted, batch: dict[str, Tensor], tilt: Tensor, *samples: int) -> Tensor:
    """The posterior mean of what `tilted(batch, tilt, *samples)` adds to the log-joint of each row times a tilt of nothing."""
    with torch.enable_grad():
        return torch.autograd.grad(tilted(batch, tilt.requires_grad_(), *samples).sum(), tilt)[0]


def mean_at_draws(value, batch: dict[str, Tensor], draw, samples: int) -> Tensor:
    """The mean of value(batch, draw()) over so many posterior draws."""
    mean = value(batch, draw())
    for count in range(2, samples + 1):
        mean += (value(batch, draw()) - mean) / count
    return mean


class Entropic:
    """log Σ exp, through which a gradient for `joint` (B,) gathers a mean over all that is summed, by the chain rule: of
    −log p, the entropy, or of log p − log q, the divergence from a model whose log-probabilities are `other`, sum by sum."""

    def __init__(self, joint: Tensor, other: list[Tensor] | None = None):
        self.joint, self.other, self.shares = joint, other, list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        log_z = log_sum_exp(x.detach())
        share = x.detach() - log_z.masked_fill(log_z == -torch.inf, 0.0).unsqueeze(-1)
        return self.attach(Summed.apply(x, log_z, share.exp()), share.exp(), share)

    def attach(self, log_z: Tensor, p: Tensor, share: Tensor, dims: int = 1) -> Tensor:
        """log_z (B, ...) of a sum whose terms have log-probability Σ share over those of the last dimensions that they
        choose, each chosen with probability p."""
        told = -share if self.other is None else share - self.other[len(self.shares)]
        self.shares.append(share)
        return Attached.apply(log_z, mean_where(p, told, dims), self.joint)


class Summed(torch.autograd.Function):
    """log Σ exp(x), which is known, with all weights p as the gradient: a small one counts where its logarithm is told."""

    @staticmethod
    def forward(ctx, x, log_z, p):
        ctx.save_for_backward(p)
        return log_z.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (p,) = ctx.saved_tensors
        return p * grad.unsqueeze(-1), None, None


class Attached(torch.autograd.Function):
    """The first argument; its gradient times the second, summed for each row, is the gradient of the third."""

    @staticmethod
    def forward(ctx, log_z, told, joint):
        ctx.save_for_backward(told)
        return log_z.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (told,) = ctx.saved_tensors
        by_row = torch.where(grad > 0, grad * told, 0.0)  # an infinite divergence counts only where it can be
        return grad, None, by_row.flatten(1).sum(1) if grad.dim() > 1 else by_row


def k_best(tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], k: int) -> dict[str, Tensor]:
    """The k most probable joint assignments of each row; where there are fewer, the rest have log-joint -inf (Lawler 1972).

    What is left beside a solution falls apart by the first element that differs from it. Each part is a tilt of 0 and -inf, and
    has a mode of its own; of all parts so far, as many as can still be wanted are kept, best first."""
    shapes = {name: value.shape[1:] for name, value in tilt.items()}
    B, seed = len(next(iter(tilt.values()))), int(torch.randint(2**62, ()))  # other latents are drawn once for all

    def best(bars: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # log-joint (B,), values (B, elements), and the bars themselves
        parts = bars.split([shape.numel() for shape in shapes.values()], 1)
        split = {name: part.reshape(B, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        score, found = seeded(lambda tilt: answer(tilted, batch, maximum, tilt)[:2], seed, split)
        return score, torch.cat([value.argmax(-1).view(B, -1) for value in found.values()], 1), bars

    counts = [inside.get(name, value[..., 0] == 0).expand(value.shape[:-1]).reshape(B, -1) for name, value in tilt.items()]
    counts = torch.cat(counts, 1)  # (B, elements)
    pool = [part.unsqueeze(1) for part in best(torch.cat([value.flatten(1) for value in tilt.values()], 1))]
    # pool: (B, candidates), (B, candidates, elements), (B, candidates, all values)
    solutions = []
    for left in range(k - 1, -1, -1):
        score, chosen, bars = (part[:, 0] for part in pool)
        solutions.append((score, chosen))
        pool = [part[:, 1:] for part in pool]
        start = 0
        for element, size in enumerate(shape[-1] for shape in shapes.values() for _ in range(shape[:-1].numel()) if left):
            here = start + chosen[:, element, None]
            other = best(bars.scatter(1, here, -torch.inf))
            possible = counts[:, element] & (score > -torch.inf)
            pool = ranked(pool, (other[0].masked_fill(~possible, -torch.inf), *other[1:]), left)
            own, bars = bars.gather(1, here), bars.clone()
            bars[:, start : start + size] = -torch.inf
            bars.scatter_(1, here, own)
            start += size
        if left and pool[0].shape[1] == 0:
            pool = [part.unsqueeze(1) for part in (torch.full_like(score, -torch.inf), chosen, bars)]
    values = torch.stack([chosen for _, chosen in solutions], 1)  # (B, k, elements)
    values = values.split([shape[:-1].numel() for shape in shapes.values()], 2)
    found = {name: part.reshape(B, k, *shape[:-1]) for (name, shape), part in zip(shapes.items(), values, strict=True)}
    return found | {"(log_joint)": torch.stack([score for score, _ in solutions], 1)}


def ranked(pool: list[Tensor], more: tuple[Tensor, ...], most: int) -> list[Tensor]:
    """Candidates with one more for each row, best first, at most so many."""
    joined = [torch.cat([part, new.unsqueeze(1)], 1) for part, new in zip(pool, more, strict=True)]
    order = joined[0].topk(min(most, joined[0].shape[1]), 1).indices
    rows = torch.arange(len(order), device=order.device)[:, None]
    return [part[rows, order] for part in joined]
