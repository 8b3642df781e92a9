"""Log-probabilities of tokens over a large vocabulary, without the logits of all positions at once."""

import torch
from torch import Tensor, nn

AT_ONCE = 2**22  # logits


class VocabularyLogProb(torch.autograd.Function):
    """log_softmax(h Wᵀ + b)[value] (N,) for h (N, H) and value (N,), so many positions at a time; of it `smoothing` parts are
    the mean over all values.

    Where the gradient is the same for all positions, as that of a sum is, it is made on the way, from the logits at hand; else
    they are made again.
    """

    @staticmethod
    def forward(ctx, h, weight, bias, value, alike, smoothing):
        found, made = h.new_empty(len(h), dtype=weight.dtype), None
        if alike and any(ctx.needs_input_grad[:3]):
            made = torch.empty_like(h), torch.zeros_like(weight), torch.zeros_like(bias)
        for rows in pieces(len(h), len(weight)):
            log_p = logits_at(rows, h, weight, bias).log_softmax(-1)
            seen = log_p.gather(1, value[rows, None])[:, 0]
            found[rows] = seen.lerp_(log_p.mean(1), smoothing) if smoothing else seen
            if made is not None:
                add_gradients(made, rows, h, weight, log_p.exp_().neg_(), value, smoothing)
        ctx.save_for_backward(h, weight, bias, value)
        ctx.smoothing = smoothing
        ctx.made = made  # only the first backward pass finds it
        return found

    @staticmethod
    def backward(ctx, grad):
        h, weight, bias, value = ctx.saved_tensors
        made, ctx.made = ctx.made, None
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            p = torch.addmm(bias, h.to(weight.dtype), weight.T).softmax(-1)
            wanted = (1 - ctx.smoothing) * nn.functional.one_hot(value, len(weight)) + ctx.smoothing / len(weight)
            g = grad[:, None] * (wanted - p)
            return g @ weight, g.T @ h, g.sum(0), None, None, None
        if made is not None and bool((grad == grad[:1]).all()):
            return *(each.mul_(grad[0]) if len(grad) else each for each in made), None, None, None
        made = torch.empty_like(h), torch.zeros_like(weight), torch.zeros_like(bias)
        for rows in pieces(len(h), len(weight)):
            p = logits_at(rows, h, weight, bias).softmax(-1)
            add_gradients(made, rows, h, weight, p.neg_(), value, ctx.smoothing, grad[rows, None])
        return *made, None, None, None


def logits_at(rows: slice, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Of some positions, the product in the precision of h."""
    if h.dtype == weight.dtype:
        return torch.addmm(bias, h[rows], weight.T)
    return (h[rows] @ weight.to(h.dtype).T).to(bias.dtype) + bias


def pieces(count: int, size: int) -> list[slice]:
    """The positions, so many at a time that their logits stay few."""
    step = max(AT_ONCE // size, 1)
    return [slice(start, start + step) for start in range(0, count, step)]


def add_gradients(
    made, rows: slice, h: Tensor, weight: Tensor, minus_p: Tensor, value: Tensor, smoothing: float, by=None
) -> None:
    """Those of Σ log p at some positions, each times `by` (n, 1); minus_p (n, V) is written over."""
    by_h, by_weight, by_bias = made
    at = value[rows, None]
    minus_p.scatter_add_(1, at, torch.full_like(at, 1 - smoothing, dtype=minus_p.dtype))
    if smoothing:
        minus_p.add_(smoothing / len(weight))
    g = minus_p if by is None else minus_p.mul_(by)
    by_bias.add_(g.new_ones(len(g)) @ g)  # three times as fast as g.sum(0)
    if h.dtype == weight.dtype:
        by_h[rows] = g @ weight
        by_weight.addmm_(g.T, h[rows])
    else:
        g = g.to(h.dtype)
        by_h[rows] = g @ weight.to(h.dtype)
        by_weight.add_(g.T @ h[rows])


def vocabulary_log_prob(
    h: Tensor, out: nn.Linear, value: Tensor, inside: Tensor | None = None, alike: bool = True, smoothing: float = 0.0
) -> Tensor:
    """log_softmax(out(h))[value] for h (*B, H) and value broadcast to (*B) → (*B); 0 where it is not inside (*B).

    alike: whether the gradient is likely to be the same for all. smoothing: how much of it is the mean over all values."""
    lead = h.shape[:-1]
    if torch.compiler.is_compiling():  # which traces neither pieces nor choices
        log_p = out(h).log_softmax(-1)
        found = log_p.gather(-1, value.expand(lead)[..., None])[..., 0]
        found = found.lerp(log_p.mean(-1), smoothing) if smoothing else found
        return found if inside is None else found.masked_fill(~inside, 0.0)
    if inside is None:
        flat = h.reshape(-1, h.shape[-1]), out.weight, out.bias, value.expand(lead).flatten(), alike, smoothing
        return VocabularyLogProb.apply(*flat).view(lead)
    inside = inside.expand(lead)
    found = VocabularyLogProb.apply(h[inside], out.weight, out.bias, value.expand(lead)[inside], alike, smoothing)
    return found.new_zeros(lead).masked_scatter(inside, found)
