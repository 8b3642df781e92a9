"""Tagger: emitted by vispec from tagger.vispec; imports torch and nothing else.

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


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Tag(nn.Module):
    """(words: token[WORD]*) → simplex[TAG]*: lstm(embed=128, hidden=128, bidirectional) |> dropout(0.3)."""

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.embed = nn.Embedding(WORD, 128)
        self.lstm = Bidirectional("LSTM", 128, 128)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, TAG)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 256)."""
        return self.dropout(self.lstm(self.embed(words), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, T, TAG) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))


class Tagger(nn.Module):
    """Batch: y (sentence, i) token[WORD]; x (sentence, i) token[TAG]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, WORD: int, TAG: int):
        super().__init__()
        self.tag = Tag(WORD, TAG)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (sentence, i)
        tag = self.tag(y, words_mask=inside_i)  # (sentence, i, TAG)
        log_x = logits_log_prob(tag, x)  # (sentence, i)
        log_x_over_i = torch.where(inside_i, log_x, 0.0).sum(1)  # (sentence,)
        return impossible_alone(log_x_over_i)  # (sentence,)

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
        tag = self.tag(y, words_mask=inside_i)  # (sentence, i, TAG)
        x = decide(torch.distributions.Categorical(logits=tag).expand((n, y.shape[1],)), rule, False)  # (sentence, i)
        return {"y": y, "x": x, "y_len": y_len}

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
        return {name: found[name] for name in ("x",)}
