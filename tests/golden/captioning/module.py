"""Captioning: emitted by vispec from captioning.vispec; imports torch and nothing else.

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


class Picture(nn.Sequential):
    """2-D convolutions over images (*B, C, H, W), flattened: (*B, channels · height · width)."""

    def forward(self, input: Tensor) -> Tensor:
        flat = super().forward(input.flatten(0, -4) if input.dim() > 3 else input[None]).flatten(1)
        return flat.reshape(*input.shape[:-3], flat.shape[1])


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


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


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


class See(nn.Module):
    """(picture: real[3, H, W]) → real[256]: cnn([32, 64, 128])."""

    def __init__(self, H: int, W: int):
        super().__init__()
        self.cnn = Picture(
            nn.Conv2d(3, 32, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, 2, 1),
            nn.ReLU(),
            nn.Conv2d(64, 128, 3, 2, 1),
            nn.ReLU(),
        )
        self.out = nn.Linear(128 * (-(-H // 8)) * (-(-W // 8)), 256)

    def features(self, picture: Tensor) -> Tensor:
        """picture (*B, 3, H, W) → (*B, F)."""
        return self.cnn(picture)

    def forward(self, picture: Tensor) -> Tensor:
        """(*B, 256)."""
        return self.out(self.features(picture))


class Say(nn.Module):
    """(seen: real[256], prefix: token[V]*) → simplex[V]: lstm(embed=256, hidden=256, init=seen) |> dropout(0.3)."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 256)
        self.start = nn.Parameter(torch.zeros(256))
        self.lstm = Recurrent("LSTM", 256, 256, batch_first=True)
        self.init = nn.Linear(256, 512)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(256, V)

    def prefix_features(self, seen: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """seen (*B, 256), prefix (*B, T) → (*B, T, 256); position i has read only what stands before it."""
        h = self.lstm(after_start(self.embed(prefix), self.start), self.init(seen))  # (*B, T, 256)
        return self.dropout(h)

    def prefixes(self, seen: Tensor, prefix: Tensor, prefix_mask: Tensor | None = None) -> Tensor:
        """(*B, T, V) unnormalised log-probabilities."""
        return self.out(self.prefix_features(seen, prefix, prefix_mask=prefix_mask))


class Captioning(nn.Module):
    """Batch: y (n, 3, H, W) real[3, H, W]; x (n, i) token[V]; x_len (n)."""

    exact = True
    estimator = "exact"

    def __init__(self, H: int, W: int, V: int):
        super().__init__()
        self.see = See(H, W)
        self.say = Say(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (n, i)
        y = batch["y"]  # (n, 3, H, W)
        see = self.see(y)  # (n, 256)
        x_len = batch["x_len"]  # (n,)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < x_len[:, None]  # (n, i)
        say = self.say.prefixes(see, x)  # (n, i, V)
        log_x = logits_log_prob(say, x)  # (n, i)
        log_x_over_i = torch.where(inside_i, log_x, 0.0).sum(1)  # (n,)
        return impossible_alone(log_x_over_i)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (n, 3, H, W)
        x_len = lengths["i"]  # (n,)
        i_size = max(int(x_len.max()), 1)
        x = self.one.new_zeros(n, i_size, dtype=torch.long)  # (n, i)
        for i in range(i_size):
            see = self.see(y)  # (n, 256)
            say = self.say.prefixes(see, x)  # (n, i, V)
            x_now = decide(torch.distributions.Categorical(logits=say[:, i]).expand((n,)), rule, True)  # (n,)
            x[:, i] = x_now
        return {"y": y, "x": x, "x_len": x_len}

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
