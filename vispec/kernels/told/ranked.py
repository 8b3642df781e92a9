"""The k best joint assignments of models with chains. Where no sum of a row stands inside another, one pass has k ways to each
state in the place of one (the k-best Viterbi recursion), and of several chains the k best sums of one way of each are taken;
elsewhere they are found as in any other model."""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.sums.algebra import maximum
from vispec.kernels.sums.chain import batch_of, canonical
from vispec.kernels.sums.enumeration import seeded
from vispec.kernels.told.queries import answer, ask, k_best


def ask_of_chains(
    module, batch: dict[str, Tensor], query: str, tilt: dict, inside: dict, one_draw: bool = True, other=None
) -> dict[str, Tensor]:
    """What `ask` answers."""
    if query.startswith("kbest(") and one_draw:
        return k_best_of_chains(module.tilted, batch, tilt, inside, int(query[6:-1]))
    return ask(module, batch, query, tilt, inside, one_draw, other)


def k_best_of_chains(
    tilted, batch: dict[str, Tensor], tilt: dict[str, Tensor], inside: dict[str, Tensor], k: int
) -> dict[str, Tensor]:
    """What `k_best` finds, in time linear in the length where no sum stands inside another."""
    seed = int(torch.randint(2**62, ()))  # other latents are drawn once for all
    ranked, scores, found = Ranked(k, len(next(iter(tilt.values())))), list[Tensor](), list[dict[str, Tensor]]()
    for rank in range(k):
        ranked.begin(rank)
        score, chosen = seeded(lambda tilt: answer(tilted, batch, ranked, tilt)[:2], seed, tilt)
        if rank == 0 and not ranked.apart():
            return k_best(tilted, batch, tilt, inside, k)
        scores.append(score.masked_fill(ranked.gaps[:, rank] == -torch.inf, -torch.inf))
        found.append({name: value.argmax(-1) for name, value in chosen.items()})
    joined = {name: torch.stack([each[name] for each in found], 1) for name in tilt}
    return joined | {"(log_joint)": torch.stack(scores, 1)}


class Ranked:
    """Sums (rows, ...) as one of their k best terms, with a gradient that goes to that term alone: at rank 0 the best ones,
    where the others are found too; later those of which the sum over a row is its rank-th best.

    lists: of each sum, scores and choices (N, k) of all its elements. places: of each sum, which of the k an element takes
    (N, k) by the rank that is asked for. gaps: how much less than the best each rank is (rows, k)."""

    def __init__(self, k: int, rows: int):
        self.k, self.rows, self.rank, self.nested = k, rows, 0, False
        self.lists, self.places = list[tuple[Tensor, Tensor]](), list[Tensor]()
        self.sums, self.uses = list[Tensor](), dict[int, Tensor]()

    def begin(self, rank: int) -> None:
        self.rank, self.calls = rank, 0

    def apart(self) -> bool:
        """After rank 0: whether a row's result is the sum of one term of each sum that it uses, and no sum stands inside
        another; then the k best of these are found."""
        used = [self.uses.get(at, torch.zeros_like(each)).reshape(-1) for at, each in enumerate(self.sums)]
        if self.nested or any(bool(((each != 0) & (each != 1)).any()) for each in used):
            return False
        columns = [
            (scores - scores[:, :1].clamp(min=torch.finfo(scores.dtype).min)).masked_fill((use == 0)[:, None], -torch.inf)
            for (scores, _), use in zip(self.lists, used, strict=True)
        ]
        for each in columns:
            each[:, 0] = 0  # the best of a row where none is possible, too
        sizes = [len(each) // self.rows for each in columns]
        self.gaps, places = best_sums([each.view(self.rows, -1, self.k) for each in columns], self.rows, self.k)
        self.places = [each.transpose(1, 2).reshape(-1, self.k) for each in places.split(sizes, 2)]
        self.sums.clear()
        return True

    def term(self, find) -> tuple[Tensor, Tensor]:
        """Score (N,) and choice of each element's term, of those that find() has."""
        if self.rank == 0:
            self.lists.append(find())
        scores, choices = self.lists[self.calls]
        at = self.places[self.calls][:, self.rank] if self.rank else torch.zeros_like(scores[:, 0], dtype=torch.long)
        each = torch.arange(len(at), device=at.device)
        return scores[each, at], choices[each, at]

    def noted(self, value: Tensor, score: Tensor, shape: torch.Size) -> Tensor:
        """The sum, of which is noted where it counts."""
        value = value.view(shape)
        if self.rank == 0:
            told = (
                torch.autograd.grad(value.sum(), self.sums, allow_unused=True, retain_graph=True)
                if self.sums and value.requires_grad
                else ()
            )
            self.nested |= any(each is not None for each in told) or shape[:1] != (self.rows,)
        found = Noted.apply(value, self, self.calls)
        self.calls += 1
        if self.rank == 0:
            self.sums.append(found)
        return torch.where(score.view(shape) > -torch.inf, found, -torch.inf)

    def unranked(self):
        """The algebra of a sum of which the k best terms are not found at once: then the k best of all are not either."""
        self.nested = True
        return maximum

    def __call__(self, x: Tensor) -> Tensor:
        """Of the last dimension's terms."""
        flat = x.reshape(-1, x.shape[-1])
        score, at = self.term(lambda: best_terms(flat.detach(), self.k))
        return self.noted(flat.gather(1, at[:, None])[:, 0], score, x.shape[:-1])

    def paths(self, log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor | None) -> Tensor:
        """Of a chain's paths, as chain_total has it."""
        shape = batch_of(log_init, log_step, log_seen, length)
        init, step, seen, full = canonical(log_init, log_step, log_seen, length)
        score, path = self.term(lambda: best_paths(init.detach(), step.detach(), seen.detach(), full, self.k))
        time, row = torch.arange(path.shape[1], device=path.device), torch.arange(len(step), device=path.device)[:, None]
        moves = step[row, time[:-1].clamp(max=step.shape[1] - 1), path[:, :-1], path[:, 1:]]
        past = time >= full[:, None]
        value = init.gather(1, path[:, :1])[:, 0].masked_fill(full == 0, 0)
        value = value + seen.gather(2, path[:, :, None])[:, :, 0].masked_fill(past, 0).sum(1)
        return self.noted(value + moves.masked_fill(past[:, 1:], 0).sum(1), score, shape)


class Noted(torch.autograd.Function):
    """The values of a sum, of which the algebra is told which count in a row's result, and how often."""

    @staticmethod
    def forward(ctx, value, algebra, call):
        ctx.algebra, ctx.call = algebra, call
        return value.clone()

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        if ctx.algebra.rank == 0:
            ctx.algebra.uses[ctx.call] = grad
        return grad, None, None


def best_sums(columns: list[Tensor], rows: int, k: int) -> tuple[Tensor, Tensor]:
    """The k largest sums of one of the k scores of each element (rows, elements, k), and which of the k (rows, k, elements). Of
    equals the first, so that the best sum is that of all first scores."""
    joined = torch.cat(columns, 1)
    total = joined.new_full((rows, k), -torch.inf)
    total[:, 0] = 0
    back = list[Tensor]()
    for each in joined.unbind(1):
        total, at = (total[:, :, None] + each[:, None]).flatten(1).sort(dim=1, descending=True, stable=True)
        total, at = total[:, :k], at[:, :k]
        back.append(at)
    way = torch.arange(k, device=total.device).expand(rows, k)
    places = list[Tensor]()
    for at in reversed(back):
        at = at.gather(1, way)
        places.append(at % k)
        way = at // k
    return total, torch.stack(places[::-1], 2)


def best_terms(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row (B, K), and where they are (B, k); -inf where there are fewer."""
    score, at = x.topk(min(k, x.shape[1]), 1)
    more = k - score.shape[1]
    return torch.nn.functional.pad(score, (0, more), value=-torch.inf), torch.nn.functional.pad(at, (0, more))


def best_paths(log_init: Tensor, log_step: Tensor, log_seen: Tensor, length: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best paths of chains, laid as `canonical` does: scores (B, k) and states (B, k, T). A way to a state is one of the
    k to one of the states before; ways are numbered by state, then by rank."""
    B, T, K = log_seen.shape
    step = log_step.transpose(-1, -2)[..., None].expand(*log_step.shape, k).flatten(-2)  # to × ways from
    ways = torch.cat([(log_init + log_seen[:, 0])[..., None], log_seen.new_full((B, K, k - 1), -torch.inf)], 2)
    back = torch.arange(K * k, device=log_seen.device, dtype=torch.int32).view(K, k).expand(T, B, K, k).clone()
    for t in range(1, T):
        best, at = (ways.flatten(1)[:, None] + step[:, min(t, step.shape[1]) - 1]).topk(k, 2)
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
