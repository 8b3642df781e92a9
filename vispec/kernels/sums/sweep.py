"""The recursions of a chain, forward and backward side by side, on rescaled probabilities."""

import torch
from torch import Tensor

RESCALE = 8  # steps between two divisions by the largest weight


class Room:
    """Memory for the sweeps of a batch, kept for the next one: to ask for it anew takes as long as the arithmetic.

    factor, before and after are (T, D, B, K), for D directions. They stand side by side, (T, B, D, K) in memory, where a step
    of all of them is one product with a block diagonal matrix: for few states, that is faster than a batch of products."""

    def __init__(self, T: int, shape: tuple[int, int, int], beside: bool, like: Tensor):
        (D, B, K), self.beside = shape, beside
        self.rows, before, after = (like.new_empty((T, B, D, K) if beside else (T, D, B, K)) for _ in range(3))
        self.factor, self.before, self.after = (x.transpose(1, 2) if beside else x for x in (self.rows, before, after))
        factor, before, after = (x.flatten(2).unbind(0) if beside else x.unbind(0) for x in (self.rows, before, after))
        self.steps = list(zip(after, before[1:], factor[1:], after[1:], strict=False))

    def fits(self, T: int, shape: tuple[int, int, int], beside: bool, like: Tensor) -> bool:
        own = self.factor
        same = own.shape[0] >= T and own.shape[1:] == shape and self.beside == beside
        return same and own.dtype == like.dtype and own.device == like.device

    def sweep(self, T: int, step: Tensor, lift: float) -> tuple[Tensor, Tensor, Tensor]:
        """before[t] = after[t-1] @ step[t-1], after[t] = before[t] * factor[t], brought back to lift if RESCALE divides t.

        before[0] = lift; factor, before and after (T, D, B, K); step (T-1, D, K, K) or (T-1, D B, K, K), or with 1 for T-1,
        which it is side by side. Returns before, after, and what after was divided by (⌊(T-1)/RESCALE⌋, D, B)."""
        (D, B, K), G, scale, tiny = self.after.shape[1:], step.shape[1], [], torch.finfo(self.after.dtype).tiny
        self.before[0] = lift
        torch.mul(self.factor[0], lift, out=self.after[0])
        by = [torch.block_diag(*step[0])] if self.beside else step.unbind(0)
        by, product = by * (T - 1) if len(step) == 1 else by, torch.mm if self.beside else torch.bmm
        for t, (times, (old, new, factor, next_)) in enumerate(zip(by, self.steps, strict=False), 1):
            if self.beside or G == D:
                product(old, times, out=new)
            else:
                torch.bmm(old.view(G, 1, K), times, out=new.view(G, 1, K))
            torch.mul(new, factor, out=next_)
            if t % RESCALE == 0:
                each = self.after[t]
                scale.append(each.amax(2, keepdim=True).mul_(1 / lift).clamp_(min=tiny))
                each.div_(scale[-1])
        scales = torch.stack(scale)[..., 0] if scale else self.after.new_empty(0, D, B)
        return self.before[:T], self.after[:T], scales


SPARE: list[Room] = []  # of each concurrent call one at most


def imprecise(before: Tensor, step: Tensor, factor: Tensor, norm: Tensor, past: Tensor, lift: float, possible) -> Tensor:
    """The chains in which a sum is so small that what underflowed may matter to it, a product or, lift times as much, a weight,
    bool (B,).

    before: the sums (T, D, B, K). possible: factor and step of the sweep with 1 for all that is not impossible, asked for only
    if needed."""
    (T, _, _, K), (n, G), real = before.shape, step.shape[:2], torch.finfo(before.dtype)
    floor = 16 * real.tiny / real.eps
    least = torch.inf if before.numel() == 0 else float(torch.minimum(before.amin(), norm.amin()))
    if least >= floor * lift:
        return torch.zeros_like(past[0])
    gates, links = possible()
    if ((factor == 0) & (gates > 0)).any() or ((step == 0) & (links > 0)).any():
        floor *= lift
    elif least >= floor:
        return torch.zeros_like(past[0])
    doubt = ~((norm.sum(2) >= floor) | past).all(0)
    small = ~(before[1:] >= floor) & ~past[1:, None, :, None]
    if T > 1 and small.any():  # unless no path of this chain reaches the state
        gates = gates.reshape(T, G, -1, K)
        now, paths = gates[0], []
        for t in range(1, T):
            paths.append(torch.bmm(now, links[(t - 1) % n]))
            now = (paths[-1] * gates[t]).sign_()
        doubt |= (small & (torch.stack(paths).view_as(small) > 0)).any(3).any(0).any(0)
    return doubt
