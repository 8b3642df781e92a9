"""Parser: emitted by vispec from parser.vispec; imports torch and nothing else.

    log_prob: exact

    log p = log_head

    y     data; given by the data
    head  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class Recurrent(nn.RNNBase):
    """States (*B, T, H) of an "LSTM" or "GRU" that reads x (*B, T, W) from left to right.

    init (*B, G·L·H): the states before the first element, of L layers; G is 2 for an LSTM (hidden, cell) and 1 for a GRU.
    What pads a sequence at its end has no effect on the states before.
    """

    def forward(self, x: Tensor, init: Tensor | None = None) -> Tensor:
        lead, groups = x.shape[:-2], 2 if self.mode == "LSTM" else 1
        shape = (groups * self.num_layers, self.hidden_size)
        if init is None:
            init = x.new_zeros(*[1] * len(lead), shape[0] * shape[1])
        lead = torch.broadcast_shapes(lead, init.shape[:-1])
        rows = lead.numel()
        state = init.expand(*lead, -1).reshape(rows, *shape).transpose(0, 1).contiguous()  # (G·L, N, H)
        if not x.shape[-2]:
            return x.new_zeros(*lead, 0, self.hidden_size)
        flat = x.expand(*lead, -1, -1).reshape(rows, *x.shape[-2:])  # (N, T, W)
        read = self.steps if torch.compiler.is_compiling() else self.fused
        return read(flat, state).reshape(*lead, x.shape[-2], self.hidden_size)

    def fused(self, x: Tensor, state: Tensor) -> Tensor:
        weights: list[Tensor] = [weight for layer in self.all_weights for weight in layer]
        settings = (weights, True, self.num_layers, self.dropout, self.training, False, True)
        if self.mode == "LSTM":
            return torch.lstm(x, state.chunk(2), *settings)[0]
        return torch.gru(x, state, *settings)[0]

    def steps(self, x: Tensor, state: Tensor) -> Tensor:
        """What `fused` computes, for torch.compile, which cannot trace it."""
        cell = self.lstm_step if self.mode == "LSTM" else self.gru_step
        states = state.unflatten(0, (-1, self.num_layers)).unbind(1)  # of each layer (G, N, H)
        for layer, now in enumerate(states):
            weight, bias = getattr(self, f"weight_hh_l{layer}"), getattr(self, f"bias_hh_l{layer}")
            gates = F.linear(x, getattr(self, f"weight_ih_l{layer}"), getattr(self, f"bias_ih_l{layer}"))
            now, out = now.unbind(0), []
            for t in range(x.shape[1]):
                now = cell(gates[:, t], F.linear(now[0], weight, bias), *now)
                out.append(now[0])
            x = torch.stack(out, 1)
            if layer + 1 < self.num_layers:
                x = F.dropout(x, self.dropout, self.training)
        return x

    @staticmethod
    def lstm_step(read: Tensor, kept: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (read + kept).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    @staticmethod
    def gru_step(read: Tensor, kept: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        (r, z, n), (kept_r, kept_z, kept_n) = read.chunk(3, -1), kept.chunk(3, -1)
        z = (z + kept_z).sigmoid()
        return ((1 - z) * (n + (r + kept_r).sigmoid() * kept_n).tanh() + z * h,)


class Bidirectional(nn.Module):
    """States (*B, T, 2H) that have read x (*B, T, W) up to each element from the left, and from the right."""

    def __init__(self, mode: str, width: int, hidden: int, layers: int = 1, dropout: float = 0.0):
        super().__init__()
        widths = [width] + [2 * hidden] * (layers - 1)
        self.ahead = nn.ModuleList(Recurrent(mode, w, hidden, batch_first=True) for w in widths)
        self.back = nn.ModuleList(Recurrent(mode, w, hidden, batch_first=True) for w in widths)
        self.dropout = dropout

    def forward(self, x: Tensor, mask: Tensor | None = None, init: Tensor | None = None) -> Tensor:
        """init (*B, 2·G·L·H): of each layer first the states from the left, then those from the right."""
        inits = [None] * (2 * len(self.ahead)) if init is None else init.chunk(2 * len(self.ahead), -1)
        for layer, (ahead, back) in enumerate(zip(self.ahead, self.back, strict=True)):
            if layer:
                x = F.dropout(x, self.dropout, self.training)
            left = ahead(x, inits[2 * layer])
            right = reverse(back(reverse(x, mask), inits[2 * layer + 1]), mask)
            x = torch.cat((left, right), -1)
        return x


def reverse(x: Tensor, mask: Tensor | None) -> Tensor:
    """x (*B, T, W) with the elements that count in reverse order at the front; twice is the identity. The mask has no holes."""
    if mask is None:
        return x.flip(-2)
    size = x.shape[-2]
    at = (mask.sum(-1, keepdim=True) - 1 - torch.arange(size, device=x.device)) % max(size, 1)
    lead = torch.broadcast_shapes(at.shape[:-1], x.shape[:-2])
    return x.expand(*lead, -1, -1).gather(-2, at[..., None].expand(*lead, -1, x.shape[-1]))


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


NEAR = 300.0  # differences of scores whose exponentials may be multiplied without underflow


def tree_log_prob(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """log Z (*B,), -inf where no tree is possible. Its gradient is the arcs' probabilities, 0 without a tree."""
    grad = torch.is_grad_enabled() and scores.requires_grad
    return tree_sums(*flat_trees(scores, length), grad)[0].view(scores.shape[:-2])


def tree_mode(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """The heads of the best tree (*B, n), int64; 0 past a tree's length."""
    flat, lengths = flat_trees(scores.detach(), length)
    heads = torch.zeros(flat.shape[:2], dtype=torch.long)
    for row, (score, size) in enumerate(zip(flat.tolist(), lengths.tolist(), strict=True)):
        heads[row, :size] = torch.tensor(best_tree(score, size), dtype=torch.long)
    return heads.to(scores.device).view(scores.shape[:-1])


@torch.no_grad()
def tree_sample(scores: Tensor, length: Tensor | None = None) -> Tensor:
    """The heads of a tree drawn from the posterior (*B, n), int64; 0 past a tree's length, and where there is no tree."""
    flat, lengths = flat_trees(scores, length)
    (B, n), steps = flat.shape[:2], eliminate(flat.double(), lengths)[1]
    heads = torch.zeros(B, n, dtype=torch.long, device=flat.device)
    for k, (via, share) in zip(range(n), reversed(steps), strict=True):
        probability = via.gather(1, heads[:, None, :k])[:, 0]  # that the arc into j leads through k
        below = torch.rand_like(probability) < probability
        above, cut = (F.pad(x, (1, 0)) for x in (heads[:, :k], below))
        for _ in range(k.bit_length()):  # whatever hangs from an element that is to hang from k
            cut, above = cut | cut.gather(1, above), above.gather(1, above)
        share = share.masked_fill(cut, -torch.inf)
        share[:, 0].masked_fill_(share.amax(1) == -torch.inf, 0)  # nothing else is left: the arc from the root leads through k
        heads[:, k] = torch.multinomial(share.softmax(1), 1)[:, 0]
        heads[:, :k].masked_fill_(below, k + 1)
    return heads.masked_fill(~inside(lengths, n), 0).view(scores.shape[:-1])


def tree_score(scores: Tensor, heads: Tensor, length: Tensor | None = None) -> Tensor:
    """Σ_i scores[i, heads[i]] (*B,) over the elements that count."""
    found = scores.gather(-1, heads.expand(scores.shape[:-1]).unsqueeze(-1)).squeeze(-1)
    return found.sum(-1) if length is None else found.masked_fill(~inside(length, found.shape[-1]), 0).sum(-1)


def is_tree(heads: Tensor, length: Tensor | None = None) -> Tensor:
    """Whether the heads (*B, n) are a tree with one root, bool (*B,); one of no elements is."""
    n = heads.shape[-1]
    counts = torch.ones_like(heads, dtype=torch.bool) if length is None else inside(length, n)
    above = F.pad(heads.masked_fill(~counts, 0), (1, 0))
    for _ in range(n.bit_length()):
        above = above.gather(-1, above)
    return (above == 0).all(-1) & (((heads == 0) & counts).sum(-1) == counts.any(-1))


def arc_scores(head: Tensor, dependent: Tensor, root: Tensor) -> Tensor:
    """head and dependent (*B, n, H), root (*B, n), leading axes broadcast → scores (*B, n, 1 + n), inner products."""
    arcs = dependent @ head.mT
    lead = torch.broadcast_shapes(arcs.shape[:-1], root.shape)
    return torch.cat([root.expand(lead).unsqueeze(-1), arcs.expand(*lead, -1)], -1)


def decide_tree(scores: Tensor, length: Tensor | None, rule: str, read: bool) -> Tensor:
    """Heads (*B, n) by the rule "sample" or "mode"; "mean" is (*B, n, 1 + n), each arc's probability, unless read."""
    if rule == "sample":
        return tree_sample(scores, length)
    if rule == "mode" or read:
        return tree_mode(scores, length)
    flat, lengths = flat_trees(scores, length)
    return tree_sums(flat, lengths, True)[1].view(scores.shape)


def inside(length: Tensor, n: int) -> Tensor:
    """Which elements count (*B, n)."""
    return torch.arange(n, device=length.device) < length.unsqueeze(-1)


def flat_trees(scores: Tensor, length: Tensor | None) -> tuple[Tensor, Tensor]:
    """Scores (B, n, 1 + n) and lengths (B,)."""
    batch, n = scores.shape[:-2], scores.shape[-2]
    full = torch.full(batch, n, device=scores.device) if length is None else length.expand(batch)
    return scores.reshape(batch.numel(), n, n + 1), full.reshape(batch.numel())


@torch.library.custom_op("vispec::tree_sums", mutates_args=())
def tree_sums(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    """log Z (B,) and, if grad, the arcs' probabilities (B, n, 1 + n)."""
    log_z, steps = eliminate(scores.double(), length, keep=grad)
    arcs = arc_marginals(steps, scores) if grad else scores.new_empty(0)
    return log_z.to(scores.dtype), arcs


@tree_sums.register_fake
def tree_shapes(scores: Tensor, length: Tensor, grad: bool) -> tuple[Tensor, Tensor]:
    return scores.new_empty(len(scores)), scores.new_empty(scores.shape if grad else 0)


def tree_save(ctx, inputs, output) -> None:
    ctx.save_for_backward(output[1])


def tree_gradient(ctx, g: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
    (arcs,) = ctx.saved_tensors
    return g[:, None, None] * arcs, None, None


tree_sums.register_autograd(first_derivative(tree_gradient), setup_context=tree_save)


def eliminate(scores: Tensor, length: Tensor, keep: bool = True) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """log Z (B,) and how each element was eliminated, the last one first.

    For element k, with the root and the elements before k left: which share of the arc h → j leads through k (B, 1 + k, k),
    and the logarithm of each head's share in k's weight (B, 1 + k)."""
    n = scores.shape[1]
    if n == 0:
        return scores.new_zeros(len(scores)), []
    at = torch.arange(n + 1, device=scores.device)
    counts = F.pad(inside(length, n), (1, 0), value=True)
    possible = (counts[:, 1:, None] & counts[:, None, :] & (at[1:, None] != at)).mT
    w = scores.mT.masked_fill(~possible, -torch.inf)  # (B, head, dependent)
    top = w[:, 1:].amax(1).nan_to_num(neginf=0.0)  # (B, n)
    root = (w[:, 0] - top).amax(1).nan_to_num(neginf=0.0)  # (B,)
    w[:, 1:].sub_(top[:, None])
    w[:, 0].sub_(top + root[:, None])
    near = bool((w.masked_fill(~possible, 0) > -NEAR).all())
    log_z, steps = (eliminate_numbers if near else eliminate_logs)(w, length, keep)
    return log_z + top.sum(1) + root, steps


def eliminate_numbers(w: Tensor, length: Tensor, keep: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The same where no arc is much lighter than others into its element, so that nothing underflows: arcs only gain weight."""
    log_z, steps = w.new_zeros(len(w)), []
    tiny, w = torch.finfo(w.dtype).tiny, w.exp()
    for k in range(w.shape[2] - 1, -1, -1):
        root = torch.where(length > 0, w[:, 0].amax(1), 1)
        w[:, 0].div_(root[:, None])
        into, onward = w[:, : k + 1, k], w[:, k + 1, :k]
        weight = torch.where(k < length, into[:, 1:].sum(1) if k else into[:, 0], 1)
        log_z += (root * weight).log()
        share = into / weight[:, None]
        through = share[:, :, None] * onward[:, None, :]
        through.diagonal(-1, 1, 2).zero_()  # from an element to itself
        w = w[:, : k + 1, :k] + through
        if keep:
            share = share.log()
            share[:, : k > 0] = -torch.inf  # but for the last one, the root has no share yet
            steps.append((through.div_(w.clamp(min=tiny)), share))
    return log_z, steps


def eliminate_logs(w: Tensor, length: Tensor, keep: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """The same for any scores, in log space: exact, and several times slower."""
    log_z, rooted, steps = w.new_zeros(len(w)), torch.zeros_like(length, dtype=torch.bool), []
    for k in range(w.shape[2] - 1, -1, -1):
        into, onward = w[:, : k + 1, k], w[:, k + 1, :k]
        others = torch.logsumexp(into[:, 1:], 1) if k else torch.full_like(log_z, -torch.inf)
        only = ~rooted & (others == -torch.inf) & (k < length)  # k must hang from the root
        rooted = rooted | only
        weight = torch.where(rooted, torch.logaddexp(others, into[:, 0]), others)
        log_z = log_z + torch.where(k < length, weight, 0)
        share = into - weight.masked_fill(weight == -torch.inf, 0)[:, None]
        through = share[:, :, None] + onward[:, None, :]
        through.diagonal(-1, 1, 2).fill_(-torch.inf)  # from an element to itself
        left = w[:, : k + 1, :k].clone()
        left[:, 0].masked_fill_(only[:, None], -torch.inf)  # a second root
        w = torch.logaddexp(left, through)
        if keep:
            share[:, 0].masked_fill_(~rooted, -torch.inf)
            steps.append((through.sub_(w.clamp(min=torch.finfo(w.dtype).min)).exp_(), share))
    nowhere = (log_z == -torch.inf)[:, None]
    return log_z, [(via, share.masked_fill(nowhere, -torch.inf)) for via, share in steps]


def arc_marginals(steps: list[tuple[Tensor, Tensor]], scores: Tensor) -> Tensor:
    """The arcs' probabilities (B, n, 1 + n): elements come back in the order opposite to their elimination."""
    B, n = scores.shape[:2]
    arcs = scores.new_zeros(B, n + 1, n, dtype=torch.double)  # (B, head, dependent)
    for k, (via, share) in zip(range(n), reversed(steps), strict=True):
        left = arcs[:, : k + 1, :k]
        through = left * via
        left.sub_(through)
        onward = through.sum(1)
        arcs[:, k + 1, :k] = onward
        arcs[:, : k + 1, k] = through.sum(2) + share.exp() * (1 - onward.sum(1, keepdim=True))
    return arcs.clamp_(min=0).mT.to(scores.dtype).contiguous()


Weight = tuple[int, float]


def best_tree(scores: list[list[float]], size: int) -> list[int]:
    """Heads of the best tree with one root (Chu and Liu 1965, Edmonds 1967); scores[i][h], of which `size` elements count.

    Weights are compared by how few arcs are impossible, then by how few leave the root, and only then by their score."""
    into: dict[int, dict[int, Weight]] = {}
    for i, row in enumerate(scores[:size], 1):
        arcs = ((h, s, (h == 0) + (size + 1) * (s == float("-inf"))) for h, s in enumerate(row[: size + 1]) if h != i)
        into[i] = {h: (-faults, 0.0 if faults > 1 else s) for h, s, faults in arcs}
    head = arborescence(into)
    return [head[i] for i in range(1, size + 1)]


def arborescence(into: dict[int, dict[int, Weight]]) -> dict[int, int]:
    """The head of each node; into[node][head] weighs an arc, 0 is the root. Contracts circles, then opens them again."""
    opened: list[tuple[int, dict[int, int], dict[int, int], dict[int, int]]] = []
    head, new = {v: max(arcs, key=arcs.__getitem__) for v, arcs in into.items()}, len(into)
    while circle := find_circle(head):
        new += 1
        chosen, inner = {u: head.pop(u) for u in circle}, {u: into.pop(u) for u in circle}
        enter, leave, gains = dict[int, int](), dict[int, int](), dict[int, Weight]()
        for u, arcs in inner.items():
            faults, score = arcs[chosen[u]]
            for v in arcs.keys() - inner.keys():
                gain = (arcs[v][0] - faults, arcs[v][1] - score)
                if v not in gains or gain > gains[v]:
                    gains[v], enter[v] = gain, u
        for v, arcs in into.items():
            leave[v] = max(circle, key=arcs.__getitem__)
            arcs[new] = arcs[leave[v]]
            for u in circle:
                del arcs[u]
            head[v] = new if head[v] in chosen else head[v]
        into[new], head[new] = gains, max(gains, key=gains.__getitem__)
        opened.append((new, chosen, enter, leave))
    for new, chosen, enter, leave in reversed(opened):
        above = head.pop(new)
        head = {v: leave[v] if h == new else h for v, h in head.items()} | chosen | {enter[above]: above}
    return head


def find_circle(head: dict[int, int]) -> list[int]:
    """The nodes of one circle of heads; empty if every path ends at 0."""
    done = {0}
    for start in head:
        path: list[int] = []
        while start not in done:
            done.add(start)
            path.append(start)
            start = head[start]
        if start in path:
            return path[path.index(start) :]
    return []


class Score(nn.Module):
    """(words: token[V]*) → (head: real[128]*, dependent: real[128]*, root: real*):

    lstm(embed=128, hidden=128, bidirectional)
    """

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.lstm = Bidirectional("LSTM", 128, 128)
        self.out = nn.Linear(256, 257)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 256)."""
        return self.lstm(self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """head (*B, T, 128), dependent (*B, T, 128), root (*B, T)."""
        head, dependent, root = self.out(self.features(words, words_mask=words_mask)).split((128, 128, 1), -1)
        return head, dependent, root.squeeze(-1)


class Parser(nn.Module):
    """Batch: y (sentence, i) token[V]; head (sentence, i) tree[i]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, V: int):
        super().__init__()
        self.score = Score(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        head = batch["head"]  # (sentence, i)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 128)
        head_scores = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, heads)
        log_norm_head = -tree_log_prob(head_scores, y_len)  # (sentence,)
        log_head = tree_score(head_scores, head, y_len) + log_norm_head  # (sentence,)
        return torch.where(is_tree(head, y_len), log_head, -torch.inf)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 128)
        head_scores = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, heads)
        head = decide_tree(head_scores, y_len, rule, False)  # (sentence, i)
        return {"y": y, "head": head, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for
        models with latents.
        """
        found = self.generate(len(batch["y"]), batch, {}, rule)
        return {name: found[name] for name in ("head",)}
