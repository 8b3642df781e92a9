"""SentenceVae: emitted by vispec from sentence_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_x_over_i = Σ_{i} log_x
    log p = kl_z + log_x_over_i

    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ_t weight[t] x[t] (*B, W), weight (*B, T); as products of matrices where there are more sums than sequences."""
    if weight.shape[:-1].numel() > x.shape[:-2].numel():
        return torch.einsum("...t,...tw->...w", weight, x)  # no copies of x along the further axes
    return (x * weight[..., None]).sum(-2)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean (*B, W) of what counts, zeros where nothing does."""
    if mask is None:
        return x.sum(-2) / max(x.shape[-2], 1)
    return weighted_sum(x, mask / mask.sum(-1, keepdim=True).clamp(min=1).to(x.dtype))


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


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


class Lm(nn.Module):
    """(z: real[Z], prefix: token[V]*) → simplex[V]: lstm(embed=256, hidden=256, init=z) |> dropout(0.5)."""

    def __init__(self, Z: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 256)
        self.start = nn.Parameter(torch.zeros(256))
        self.lstm = Recurrent("LSTM", 256, 256, batch_first=True)
        self.init = nn.Linear(Z, 512)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(256, V)

    def prefix_features(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """z (*B, Z), prefix (*B, T) → (*B, T, 256); position i has read only what stands before it."""
        h = self.lstm(after_start(self.embed(prefix), self.start), self.init(z))  # (*B, T, 256)
        return self.dropout(h)

    def prefixes(self, z: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, V) unnormalised log-probabilities."""
        return self.out(self.prefix_features(z, prefix, prefix_mask=prefix_mask))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[Z], scale: positive[Z]): lstm(embed=256, hidden=256, bidirectional) |> mean."""

    def __init__(self, Z: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 256)
        self.lstm = Bidirectional("LSTM", 256, 256)
        self.out = nn.Linear(512, 2 * Z)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 512)."""
        return masked_mean(self.lstm(self.embed(words), words_mask), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class SentenceVae(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, Z: int = 32):
        super().__init__()
        self.Z = Z
        self.lm = Lm(Z, V)
        self.encode = Encode(Z, V)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (sentence,), in nats: elbo(samples=1)."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (sentence, Z)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (sentence,)
        lm = self.lm.prefixes(z, x)  # (sentence, i, V)
        log_x = logits_log_prob(lm, x)  # (sentence, i)
        log_x_over_i = torch.where(inside_i, log_x, 0.0).sum(1)  # (sentence,)
        return log_x_over_i - self.kl_weight * kl_z  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, sentence)."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, sentence, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        log_ratio_z = log_p_z - log_q_z  # (s*, sentence)
        lm = self.lm.prefixes(z, x)  # (s*, sentence, i, V)
        log_x = logits_log_prob(lm, x)  # (s*, sentence, i)
        log_x_over_i = torch.where(inside_i, log_x, 0.0).sum(2)  # (s*, sentence)
        log_prob = log_ratio_z + log_x_over_i  # (s*, sentence)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        z: real[Z], (sentence).
        """
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        return {"z": {"loc": encode_loc, "scale": encode_scale}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, sentence) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        x_len = batch["x_len"]  # (sentence,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (sentence, i)
        encode_loc, encode_scale_raw = self.encode(x, words_mask=inside_i)  # (sentence, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (sentence, Z)
        z = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, sentence, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, sentence)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, sentence)
        log_ratio_z = log_p_z - log_q_z  # (s*, sentence)
        return {"z": (log_ratio_z, z)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n, self.Z,)), "sample", True)  # (sentence, Z)
        x_len = lengths["i"]  # (sentence,)
        i_size = max(int(x_len.max()), 1)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (sentence, i)
        for i in range(i_size):
            lm = self.lm.prefixes(z, x)  # (sentence, i, V)
            x_now = decide(torch.distributions.Categorical(logits=lm[:, i]).expand((n,)), rule, True)  # (sentence,)
            x[:, i] = x_now
        return {"z": z, "x": x, "x_len": x_len}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)
