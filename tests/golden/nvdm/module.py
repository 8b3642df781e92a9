"""Nvdm: emitted by vispec from nvdm.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_w_over_n = Σ_{n} log_w
    log p = kl_h + log_w_over_n

    h  elbo(samples=1); continuous; guide Normal
    w  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def categorical_log_prob(value: torch.Tensor, log_probs: torch.Tensor) -> torch.Tensor:
    """log_probs[..., value] for value (*B) and log_probs (*B, K), leading axes broadcast → (*B)."""
    if log_probs.dim() == 1:  # one law for all values: selecting scatters its gradient into (K,), gathering into (*B, K)
        return log_probs.index_select(0, value.flatten()).view(value.shape)
    lead = torch.broadcast_shapes(value.shape, log_probs.shape[:-1])
    own = (1,) * (len(lead) + 1 - log_probs.dim()) + log_probs.shape[:-1]
    order = sorted(range(len(lead)), key=lambda d: own[d] != lead[d])  # last where one law serves many values
    rows = log_probs.reshape(-1, log_probs.shape[-1])  # not expanded: its gradient would be as large
    index = value.expand(lead).permute(order).reshape(len(rows), lead.numel() // max(len(rows), 1))
    found = rows.gather(1, index).view([lead[d] for d in order])
    return found.permute([order.index(d) for d in range(len(lead))])


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


class KlNormalStandard(torch.autograd.Function):
    """The sum of `kl_normal_standard` over the last dimension: (*B, D) each → (*B). A dozen small operations fewer."""

    @staticmethod
    def forward(ctx, loc, scale):
        ctx.save_for_backward(loc, scale)
        terms = scale.log().addcmul_(loc, loc, value=-0.5).addcmul_(scale, scale, value=-0.5)
        return torch.rsub(terms.sum(-1), -0.5 * loc.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        loc, scale = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return loc * grad, (scale - scale.reciprocal()).mul_(grad)


def kl_normal_standard_vector(loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d KL(N(loc_d, scale_d²) ‖ N(0, 1)): loc and scale (*B, D) → (*B)."""
    return KlNormalStandard.apply(loc, scale)


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def count_values(index: Tensor, size: int, mask: Tensor | None, like: Tensor) -> Tensor:
    """How often each of `size` values is among the index (*B, T) that count: (*B, size), of like's dtype."""
    weight = like.new_ones(index.shape) if mask is None else mask.to(like.dtype)
    if index.shape != weight.shape:
        index, weight = torch.broadcast_tensors(index, weight)
    return weight.new_zeros(*index.shape[:-1], size).scatter_add_(-1, index, weight)


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


class NormalVectorLogProb(torch.autograd.Function):
    """Σ_d log N(value_d; loc_d, scale_d²) (*B): value, loc and scale broadcast to (*B, D).

    Instead of four tensors (*B, D) of autograd's, it makes one for the gradient, and one of residuals in units of the scale,
    which it returns too.
    """

    @staticmethod
    def forward(ctx, value, loc, scale):
        residual = value - loc
        fits = scale.shape == residual.shape[residual.dim() - scale.dim() :]  # broadcast_shapes takes its time
        residual = residual.div_(scale) if fits else residual / scale  # (*B, D)
        ctx.save_for_backward(residual, scale)
        ctx.shapes = value.shape, loc.shape, scale.shape
        distance = torch.linalg.vector_norm(residual, dim=-1).square_()
        log_scale = scale.log().expand(*scale.shape[:-1], residual.shape[-1]).sum(-1)
        ctx.set_materialize_grads(False)
        found = distance.mul_(-0.5).sub_(log_scale).sub_(0.9189385332046727 * residual.shape[-1])  # log(2π) / 2
        return found, residual

    @staticmethod
    def backward(ctx, grad, by_residual):
        residual, scale = ctx.saved_tensors
        value_shape, loc_shape, scale_shape = ctx.shapes
        grad = residual.new_zeros(residual.shape[:-1]) if grad is None else grad
        weighted = residual * grad[..., None]  # (*B, D)
        weighted = weighted if by_residual is None else weighted - by_residual
        by_scale = None
        if ctx.needs_input_grad[2]:
            size = scale_shape[-1] if scale_shape else 1
            once = grad[..., None].sum_to_size((*scale_shape[:-1], 1) if scale_shape else ()) * (residual.shape[-1] // size)
            by_scale = (weighted * residual).sum_to_size(scale_shape).sub_(once).div_(scale)
        by_loc = weighted / scale if torch.is_grad_enabled() else weighted.div_(scale)
        by_value = by_loc.neg().sum_to_size(value_shape) if ctx.needs_input_grad[0] else None
        return by_value, by_loc.sum_to_size(loc_shape) if ctx.needs_input_grad[1] else None, by_scale


def standard_normal_vector_log_prob(value: Tensor) -> Tensor:
    """Σ_d log N(value_d; 0, 1): (*B, D) → (*B)."""
    return value.square().sum(-1) * -0.5 - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]


class Topics(nn.Module):
    """(h: real[K]) → simplex[V]: mlp([])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.out = nn.Linear(K, V)

    def features(self, h: Tensor) -> Tensor:
        """h (*B, K) → (*B, K)."""
        return h

    def forward(self, h: Tensor) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.features(h))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[K], scale: positive[K]): bow |> layernorm |> mlp([500])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.V = V
        self.layernorm = nn.LayerNorm(V)
        self.mlp = nn.Sequential(nn.Linear(V, 500), nn.ReLU())
        self.out = nn.Linear(500, 2 * K)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 500)."""
        h = count_values(words, self.V, words_mask, self.out.weight)  # (*B, V)
        return self.mlp(self.layernorm(h))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, K), scale (*B, K) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Nvdm(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.topics = Topics(K, V)
        self.encode = Encode(K, V)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats: elbo(samples=1)."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (doc, K)
        kl_h = kl_normal_standard_vector(encode_loc, encode_scale)  # (doc,)
        topics = self.topics(h)  # (doc, V)
        log_topics = topics.log_softmax(-1)  # (doc, V)
        log_w = categorical_log_prob(w, log_topics[:, None])  # (doc, n)
        log_w_over_n = torch.where(inside_n, log_w, 0.0).sum(1)  # (doc,)
        return log_w_over_n - self.kl_weight * kl_h  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, doc)."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        log_p_h = standard_normal_vector_log_prob(h)  # (s*, doc)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (s*, doc)
        log_ratio_h = log_p_h - log_q_h  # (s*, doc)
        topics = self.topics(h)  # (s*, doc, V)
        log_topics = topics.log_softmax(-1)  # (s*, doc, V)
        log_w = categorical_log_prob(w, log_topics[:, :, None])  # (s*, doc, n)
        log_w_over_n = torch.where(inside_n, log_w, 0.0).sum(2)  # (s*, doc)
        log_prob = log_ratio_h + log_w_over_n  # (s*, doc)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        h: real[K], (doc).
        """
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        return {"h": {"loc": encode_loc, "scale": encode_scale}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of h: log p − log q (samples, doc) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        at_n = torch.arange(w.shape[1], device=self.one.device)  # (n,)
        inside_n = at_n < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        log_p_h = standard_normal_vector_log_prob(h)  # (s*, doc)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (s*, doc)
        log_ratio_h = log_p_h - log_q_h  # (s*, doc)
        return {"h": (log_ratio_h, h)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        h = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n, self.K,)), "sample", True)  # (doc, K)
        w_len = lengths["n"]  # (doc,)
        n_size = max(int(w_len.max()), 1)
        topics = self.topics(h)  # (doc, V)
        w = decide(torch.distributions.Categorical(logits=topics[:, None]).expand((n, n_size,)), rule, False)  # (doc, n)
        return {"h": h, "w": w, "w_len": w_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"w": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"n": batch["w_len"]}, by), kinds, rule, samples)
