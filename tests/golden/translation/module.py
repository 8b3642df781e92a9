"""Translation: emitted by vispec from translation.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = Σ_{i} log_x
    log p = log_x_over_i

    y  data; given by the data
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


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def masked_softmax(score: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over the last axis of what counts, zeros where nothing does."""
    if mask is None:
        return score.softmax(-1)
    return score.masked_fill(~mask, torch.finfo(score.dtype).min).softmax(-1) * mask


def dot_attention(query: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
    """What each of the queries (*B, T, W) finds in memory (*B, S, W), of which mask (*B, S) counts: (*B, T, W)."""
    score = query @ memory.mT  # (*B, T, S)
    return masked_softmax(score, None if mask is None else mask[..., None, :]) @ memory


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


def concatenate(*parts: Tensor) -> Tensor:
    """Side by side along the last axis; leading axes broadcast."""
    lead = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return torch.cat([part.expand(*lead, -1) for part in parts], -1)


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Decode(nn.Module):
    """(prefix: token[EN]*, source: token[DE]*) → simplex[EN]:

    lstm(embed=256, hidden=256) |> attend |> mlp([256]) |> dropout(0.3)
    """

    def __init__(self, EN: int, DE: int):
        super().__init__()
        self.embed_source = nn.Embedding(DE, 256)
        self.lstm_source = Recurrent("LSTM", 256, 256, batch_first=True)
        self.embed = nn.Embedding(EN, 256)
        self.start = nn.Parameter(torch.zeros(256))
        self.lstm = Recurrent("LSTM", 256, 256, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(512, 256), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, EN)

    def prefix_features(
        self, prefix: Tensor, source: Tensor, prefix_mask: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """prefix (*B, T), source (*B, S) → (*B, T, 256); position i has read only what stands before it."""
        h = self.lstm(after_start(self.embed(prefix), self.start))  # (*B, T, 256)
        h2 = dot_attention(h, self.lstm_source(self.embed_source(source)), source_mask)  # (*B, T, 256)
        return self.dropout(self.mlp(concatenate(h, h2)))

    def prefixes(
        self, prefix: Tensor, source: Tensor, prefix_mask: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """(*B, T, EN) unnormalised log-probabilities."""
        return self.out(self.prefix_features(prefix, source, prefix_mask=prefix_mask, source_mask=source_mask))


class Translation(nn.Module):
    """Batch: y (pair, j) token[DE]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"

    def __init__(self, EN: int, DE: int):
        super().__init__()
        self.decode = Decode(EN, DE)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        x = batch["x"]  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (pair, i)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        at_j = torch.arange(y.shape[1], device=self.one.device)  # (j,)
        inside_j = at_j < y_len[:, None]  # (pair, j)
        decode = self.decode.prefixes(x, y, source_mask=inside_j)  # (pair, i, EN)
        log_x = logits_log_prob(decode, x)  # (pair, i)
        log_x_over_i = torch.where(inside_i, log_x, 0.0).sum(1)  # (pair,)
        return impossible_alone(log_x_over_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = batch["y"]  # (pair, j)
        x_len = lengths["i"]  # (pair,)
        i_size = int(x_len.max())
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (pair, i)
        y_len = batch["y_len"]  # (pair,)
        at_j = torch.arange(y.shape[1], device=self.one.device)  # (j,)
        inside_j = at_j < y_len[:, None]  # (pair, j)
        for i in range(i_size):
            decode = self.decode.prefixes(x, y, source_mask=inside_j)  # (pair, i, EN)
            x_now = decide(torch.distributions.Categorical(logits=decode[:, i]).expand((n,)), rule, True)  # (pair,)
            x[:, i] = x_now
        return {"y": y, "x": x, "y_len": y_len, "x_len": x_len}

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
        found = self.generate(len(batch["y"]), batch, {"i": batch["x_len"]}, rule)
        return {name: found[name] for name in ("x",)}
