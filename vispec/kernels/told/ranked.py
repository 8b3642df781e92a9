"""The k best joint assignments of models with chains: where all that is summed of a row is one chain, by one pass with k ways
to each state in the place of one (the k-best Viterbi recursion); elsewhere as for any other model."""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.enumeration import seeded
from vispec.kernels.told.queries import answer, ask, k_best


def ask_of_chains(
    module, batch: dict[str, Tensor], query: str, tilt: dict, inside: dict, one_draw: bool = True, other=None
) -> dict[str, Tensor]:
    """What `ask` answers."""
    if query.startswith("kbest("):
        return k_best_of_chains(module.tilted, batch, tilt, inside, int(query[6:-1]))
    return ask(module, batch, query, tilt, inside, one_draw, other)


def k_best_of_chains(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], k: int
) -> dict[str, Tensor]:
    """What `k_best` finds, in time linear in the length where there is one chain."""
    seed = int(torch.randint(2**62, ()))  # other latents are drawn once for all
    ranked, scores, found = Ranked(k), list[Tensor](), list[dict[str, Tensor]]()
    for rank in range(k):
        ranked.begin(rank)
        score, chosen = seeded(lambda tilt: answer(tilted, batch, ranked, tilt)[:2], seed, tilt)
        if not ranked.alone():
            return k_best(tilted, batch, tilt, inside, k)
        scores.append(score.masked_fill(ranked.uses == 0, -torch.inf) if rank else score)
        found.append({name: value.argmax(-1) for name, value in chosen.items()})
    joined = {name: torch.stack([each[name] for each in found], 1) for name in tilt}
    return joined | {"(log_joint)": torch.stack(scores, 1)}


class Ranked:
    """The rank-th best term of a sum (B,), 0 for the best, with a gradient that goes to that term alone; what it finds of the k
    best at rank 0 it keeps for the others. alone: whether each row has been the result of one such sum at most, for only then
    are its best terms the best of all."""

    def __init__(self, k: int):
        self.k, self.kept = k, list[tuple[Tensor, Tensor]]()

    def begin(self, rank: int) -> None:
        self.rank, self.calls, self.others, self.uses = rank, 0, False, torch.zeros(())

    def alone(self) -> bool:
        return not self.others and bool((self.uses <= 1).all())

    def best(self, find) -> tuple[Tensor, Tensor]:
        """Score (B,) and choice of this rank, of those that find() has by all ranks."""
        if self.rank == 0:
            self.kept.append(find())
        scores, choices = self.kept[self.calls]
        self.calls += 1
        return scores[:, self.rank], choices[:, self.rank]

    def noted(self, value: Tensor, score: Tensor) -> Tensor:
        return torch.where(score > -torch.inf, Noted.apply(value, self), -torch.inf)

    def __call__(self, x: Tensor) -> Tensor:
        """Of the last dimension's terms; those of a row by themselves."""
        if x.dim() != 2:
            self.others = True
            return maximum(x)
        score, at = self.best(lambda: best_terms(x.detach(), self.k))
        return self.noted(x.gather(1, at[:, None])[:, 0], score)

    def paths(self, log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor | None) -> Tensor:
        """Of a chain's paths, as chain_total has it, for log_seen (B, T, K)."""
        B, T = log_seen.shape[:2]
        full = torch.full((B,), T, device=log_seen.device) if length is None else length.expand(B)
        parts = log_init.detach(), log_step.detach(), log_seen.detach()
        score, path = self.best(lambda: best_paths(*parts, full, self.k))
        time, (first, after) = torch.arange(T, device=path.device), (path[:, :-1], path[:, 1:])
        seen = log_seen.gather(2, path[:, :, None])[:, :, 0].masked_fill(time >= full[:, None], 0).sum(1)
        if log_step.dim() == 2:
            steps = log_step[first, after]
        else:
            moves = log_step if log_step.dim() == 4 else log_step[None]  # (B or 1, T-1 or 1, K, K)
            row = torch.arange(len(moves), device=path.device)[:, None]
            steps = moves[row, time[: T - 1].clamp(max=moves.shape[1] - 1), first, after]
        steps = steps.masked_fill(time[1:] >= full[:, None], 0).sum(1)
        init = log_init.expand(B, -1).gather(1, path[:, :1])[:, 0].masked_fill(full == 0, 0)
        return self.noted(init + seen + steps, score)


class Noted(torch.autograd.Function):
    """The value (B,), of which the algebra is told for which rows it counts."""

    @staticmethod
    def forward(ctx, value, algebra):
        ctx.algebra = algebra
        return value.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        ctx.algebra.uses = ctx.algebra.uses + (grad != 0).long()
        return grad, None


def best_terms(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row (B, K), and where they are (B, k); -inf where there are fewer."""
    score, at = x.topk(min(k, x.shape[1]), 1)
    more = k - score.shape[1]
    return torch.nn.functional.pad(score, (0, more), value=-torch.inf), torch.nn.functional.pad(at, (0, more))


def best_paths(log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best paths of chains: scores (B, k) and states (B, k, T). A way to a state is one of the k to one of the states
    before; ways are numbered by state, then by rank."""
    B, T, K = log_seen.shape
    step = log_step.transpose(-1, -2)[..., None].expand(*log_step.shape, k).flatten(-2)  # to × ways from
    ways = torch.cat([(log_init + log_seen[:, 0])[..., None], log_seen.new_full((B, K, k - 1), -torch.inf)], 2)
    back = torch.arange(K * k, device=log_seen.device, dtype=torch.int32).view(K, k).expand(T, B, K, k).clone()
    for t in range(1, T):
        move = step if step.dim() == 2 else step[..., min(t, step.shape[-3]) - 1, :, :]
        best, at = (ways.flatten(1)[:, None] + move).topk(k, 2)
        counts = (t < length)[:, None, None]
        ways = torch.where(counts, best + log_seen[:, t, :, None], ways)
        back[t] = torch.where(counts, at, back[t])
    score, way = ways.flatten(1).topk(k, 1)
    path = torch.empty(T, B, k, dtype=torch.long, device=log_seen.device)
    for t in range(T - 1, -1, -1):
        path[t] = way // k
        way = back[t].flatten(1).gather(1, way).long()
    none = (length == 0)[:, None]
    only = torch.arange(k, device=score.device) == 0
    return torch.where(none, torch.where(only, 0.0, -torch.inf), score), path.permute(1, 2, 0)
