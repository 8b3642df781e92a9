"""Ibm1: emitted by vispec from ibm1.vispec; imports torch and nothing else.

    log_prob: exact

    sum_a = log Σ_{a} exp(log_a + log_x)
    sum_a_over_i = Σ_{i} sum_a
    log p = sum_a_over_i

    y  data; given by the data
    a  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values (U,) and the row of each element among them, of tokens' shape.

    Their number is in the data, which a single traced graph cannot know: while compiling, every element is a row of its own.
    """
    if torch.compiler.is_compiling():
        return tokens.flatten(), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)
    values, row = torch.unique(tokens, return_inverse=True)
    return values, row


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


QUERIES = "marginals, mode, kbest(5), sample, entropy, pairs, kl"


def ask(
    module,
    batch: dict[str, Tensor],
    query: str,
    tilt: dict[str, Tensor],
    inside: dict[str, Tensor],
    one_draw: bool = True,
    other=None,
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
        raise ValueError(f"this model answers no query {query!r}; queries are {QUERIES}, pairs where a latent is a chain")
    found, of_all = answer(module.tilted, batch, algebras[query], tilt, joint)[1:]
    if query == "marginals":
        return found
    if query == "entropy":
        each = {name: torch.special.entr(p.clamp(min=0)).sum(-1) for name, p in found.items()}
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


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


class Maximum(torch.autograd.Function):
    """max over the last dimension; the gradient goes to the first of the best."""

    @staticmethod
    def forward(ctx, x):
        best, at = x.max(-1, keepdim=True)
        ctx.save_for_backward(at)
        ctx.size = x.shape[-1]
        return best.squeeze(-1)

    @staticmethod
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


class Sampled(torch.autograd.Function):
    """log Σ exp over the last dimension; the gradient goes to one term, drawn with its probability."""

    @staticmethod
    def forward(ctx, x):
        noise = torch.empty_like(x).exponential_().log_()
        ctx.save_for_backward((x - noise).argmax(-1, keepdim=True))
        ctx.size = x.shape[-1]
        return torch.logsumexp(x, -1)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return grad.new_zeros(*at.shape[:-1], ctx.size).scatter_(-1, at, grad.unsqueeze(-1))


def maximum(x: Tensor) -> Tensor:
    """max over the last dimension (*B, K) → (*B)."""
    return Maximum.apply(x)


def sampled(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B), with a draw for a gradient."""
    return Sampled.apply(x)


def seeded(log_joint, seed: int, *inputs):
    """log_joint(*inputs) with the same draws in every pass."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return log_joint(*inputs)


class LogSumExp(torch.autograd.Function):
    """log Σ exp(x) over the last dimension, and the responsibilities, which are its gradient; they have one of their own.

    Weights below 1e-34 of the largest count as zero: they cannot change the sum, and torch's exp is slow there.
    """

    @staticmethod
    def forward(ctx, x):
        top = x.amax(-1, keepdim=True)
        top.clamp_(min=torch.finfo(top.dtype).min)  # where all are -inf, so is their difference from it
        r = torch.threshold_((x - top).clamp_(min=-80.0).exp_(), 2e-35, 0.0)
        mass = r.sum(-1, keepdim=True)  # at least 1, or 0 where everything is impossible
        ctx.save_for_backward(r.div_(mass.clamp(min=1.0)))
        ctx.set_materialize_grads(False)
        return mass.log_().add_(top).squeeze(-1), r

    @staticmethod
    def backward(ctx, grad, by_r):
        (r,) = ctx.saved_tensors
        first = None if grad is None else r * grad.unsqueeze(-1)
        if by_r is None:
            return first
        second = r * (by_r - (r * by_r).sum(-1, keepdim=True))
        return second if first is None else first + second


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σ exp(x) over the last dimension (*B, K) → (*B); -inf, with gradient 0, where every term is."""
    return LogSumExp.apply(x)[0]


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


class SelectedLogSoftmax(torch.autograd.Function):
    """log_softmax(h Wᵀ + b)[row, col] for the chosen cells alone; the logits' buffer becomes the gradient.

    h (U, H), weight (V, H), bias (V,), row and col (*S) → (*S).
    """

    @staticmethod
    def forward(ctx, h, weight, bias, row, col):
        logits = torch.addmm(bias, h, weight.T)  # (U, V)
        picked, least = logits[row, col], least_logit(logits)
        prob = softmax_in_place(logits, least)
        ctx.save_for_backward(h, weight, bias, row, col)
        ctx.prob = prob  # only the first backward pass finds it
        return prob[row, col].log_().add_((picked - least[row]).clamp_(max=0.0))

    @staticmethod
    def backward(ctx, grad):
        h, weight, bias, row, col = ctx.saved_tensors
        g, ctx.prob = ctx.prob, None
        grad = grad.flatten()
        mass = grad.new_zeros(len(h)).index_add_(0, row.flatten(), grad)
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            g = -mass[:, None] * torch.addmm(bias, h, weight.T).softmax(1)
        else:
            if g is None:
                logits = torch.addmm(bias, h, weight.T)
                g = softmax_in_place(logits, least_logit(logits))
            g.mul_(-mass[:, None])  # ∂/∂logits = picked − mass · softmax
        g.view(-1).index_add_(0, (row * g.shape[1] + col).flatten(), grad)
        by_bias = g.new_ones(len(g)) @ g  # three times as fast as g.sum(0)
        return g @ weight, g.T @ h, by_bias, None, None


def least_logit(logits: Tensor) -> Tensor:
    """What is as good as impossible in each row (U,): exp, and all that reads its result, would be slow below it."""
    return logits.amax(1) - 80.0


def softmax_in_place(logits: Tensor, least: Tensor) -> Tensor:
    """The softmax of each row of logits (U, V), none of which counts as less than `least`."""
    return torch.softmax(torch.maximum(logits, least[:, None], out=logits), 1, out=logits)


class Lex(nn.Module):
    """(y: token[FR]) → simplex[EN]: embed(128) |> mlp([256])."""

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.embed = nn.Embedding(FR, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 256), nn.ReLU())
        self.out = nn.Linear(256, EN)

    def features(self, y: Tensor) -> Tensor:
        """y (*B) → (*B, 256)."""
        return self.mlp(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(y))


class Ibm1(nn.Module):
    """Batch: y (pair, j) token[FR]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"
    sums = ("sum a in pair, i",)

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.lex = Lex(EN, FR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        y_len = batch["y_len"]  # (pair,)
        log_y_len = (self.one * y_len).log()  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        log_a = torch.where(inside_a, -log_y_len[:, None], -torch.inf)  # (pair, a)
        x = batch["x"]  # (pair, i)
        y_words, y_row = distinct(y)  # (pair, a)
        cells = torch.broadcast_shapes(y_row[:, None].shape, x[:, :, None].shape)
        y_row_2 = y_row[:, None].expand(cells)  # (pair, i, a)
        x_2 = x[:, :, None].expand(cells)  # (pair, i, a)
        lex_features = self.lex.features(y_words)  # (distinct, H)
        log_x = SelectedLogSoftmax.apply(lex_features, self.lex.out.weight, self.lex.out.bias, y_row_2, x_2)  # (pair, i, a)
        log_joint_of_a = log_a[:, None] + log_x  # (pair, i, a)
        log_sum_a = log_sum_exp(log_joint_of_a)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (pair, i)
        log_a_over_i = torch.where(inside_i, log_sum_a, 0.0).sum(1)  # (pair,)
        return impossible_alone(log_a_over_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums: a query's answer is its gradient."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        y_len = batch["y_len"]  # (pair,)
        log_y_len = (self.one * y_len).log()  # (pair,)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        log_a = torch.where(inside_a, -log_y_len[:, None], -torch.inf)  # (pair, a)
        x = batch["x"]  # (pair, i)
        y_words, y_row = distinct(y)  # (pair, a)
        cells = torch.broadcast_shapes(y_row[:, None].shape, x[:, :, None].shape)
        y_row_2 = y_row[:, None].expand(cells)  # (pair, i, a)
        x_2 = x[:, :, None].expand(cells)  # (pair, i, a)
        lex_features = self.lex.features(y_words)  # (distinct, H)
        log_x = SelectedLogSoftmax.apply(lex_features, self.lex.out.weight, self.lex.out.bias, y_row_2, x_2)  # (pair, i, a)
        tilt_a = tilt["a"]  # (pair, i, a)
        log_joint_of_a = log_a[:, None] + log_x + tilt_a  # (pair, i, a)
        log_sum_a = total(log_joint_of_a)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (pair, i)
        log_a_over_i = torch.where(inside_i, log_sum_a, 0.0).sum(1)  # (pair,)
        return log_a_over_i

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        a: index[j], (pair, i).
        """
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (pair, i)
        zeros = {"a": self.one.new_zeros(y.shape[0], x.shape[1], y.shape[1])}
        found = ask(self, batch, query, zeros, {"a": inside_i}, other=other)
        return found

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        x_len = lengths["i"]  # (pair,)
        i_size = max(int(x_len.max()), 1)
        y_len = batch["y_len"]  # (pair,)
        a = (torch.rand(n, i_size, device=self.one.device) * y_len[:, None]).long()  # (pair, i)
        at_pair = torch.arange(n, device=self.one.device)  # (pair,)
        y_at = y[at_pair[:, None], a]  # (pair, i)
        y_at_words, y_at_row = distinct(y_at)  # (pair, i)
        lex = self.lex(y_at_words)  # (distinct, EN)
        lex_2 = lex[y_at_row]  # (pair, i, EN)
        x = decide(torch.distributions.Categorical(logits=lex_2).expand((n, i_size,)), rule, False)  # (pair, i)
        return {"y": y, "a": a, "x": x, "y_len": y_len, "x_len": x_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)
