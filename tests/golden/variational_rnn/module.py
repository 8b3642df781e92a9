"""VariationalRnn: emitted by vispec from variational_rnn.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    kl_z_over_t = Σ_{t} kl_z
    log_x_over_t = Σ_{t} log_x
    log p = kl_z_over_t + log_x_over_t

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


def kl_normal_normal(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL(N(q_loc, q_scale²) ‖ N(p_loc, p_scale²))."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio.square() + ((q_loc - p_loc) / p_scale).square() - 1) - ratio.log()


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


def after_start(x: Tensor, start: Tensor) -> Tensor:
    """A learned vector (W,) and all elements but the last: position i of (*B, T, W) holds the one before i."""
    return torch.cat((start.expand(*x.shape[:-2], 1, -1), x[..., :-1, :]), -2)


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


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]


class Remember(nn.Module):
    """(notes: bit[88]*) → real[H]: lstm(hidden=100) |> dropout(0.5)."""

    def __init__(self, H: int):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(88))
        self.lstm = Recurrent("LSTM", 88, 100, batch_first=True)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(100, H)

    def prefix_features(self, notes: Tensor, notes_mask: Tensor | None = None) -> Tensor:
        """notes (*B, T, 88) → (*B, T, 100); position i has read only what stands before it."""
        return self.dropout(self.lstm(after_start(notes, self.start)))

    def prefixes(self, notes: Tensor, notes_mask: Tensor | None = None) -> Tensor:
        """(*B, T, H)."""
        return self.out(self.prefix_features(notes, notes_mask=notes_mask))


class Begin(nn.Module):
    """(past: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(H, 100), nn.ReLU())
        self.out = nn.Linear(100, 2 * Z)

    def features(self, past: Tensor) -> Tensor:
        """past (*B, H) → (*B, 100)."""
        return self.mlp(past)

    def forward(self, past: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(past)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Move(nn.Module):
    """(before: real[Z], past: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.from_before = nn.Linear(Z, 100)
        self.from_past = nn.Linear(H, 100, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(100, 2 * Z)

    def features(self, before: Tensor, past: Tensor) -> Tensor:
        """before (*B, Z), past (*B, H) → (*B, 100)."""
        return self.mlp(self.from_before(before) + self.from_past(past))

    def forward(self, before: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(before, past)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Sound(nn.Module):
    """(z: real[Z], past: real[H]) → unit[88]: mlp([100]) |> dropout(0.2)."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.from_z = nn.Linear(Z, 100)
        self.from_past = nn.Linear(H, 100, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(100, 88)

    def features(self, z: Tensor, past: Tensor) -> Tensor:
        """z (*B, Z), past (*B, H) → (*B, 100)."""
        return self.dropout(self.mlp(self.from_z(z) + self.from_past(past)))

    def forward(self, z: Tensor, past: Tensor) -> Tensor:
        """(*B, 88) log-odds."""
        return self.out(self.features(z, past))


class Hear(nn.Module):
    """(now: bit[88], past: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.from_now = nn.Linear(88, 100)
        self.from_past = nn.Linear(H, 100, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(100, 2 * Z)

    def features(self, now: Tensor, past: Tensor) -> Tensor:
        """now (*B, 88), past (*B, H) → (*B, 100)."""
        return self.mlp(self.from_now(now) + self.from_past(past))

    def forward(self, now: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(now, past)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Track(nn.Module):
    """(now: bit[88], before: real[Z], past: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.from_now = nn.Linear(88, 100)
        self.from_before = nn.Linear(Z, 100, bias=False)
        self.from_past = nn.Linear(H, 100, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(100, 2 * Z)

    def features(self, now: Tensor, before: Tensor, past: Tensor) -> Tensor:
        """now (*B, 88), before (*B, Z), past (*B, H) → (*B, 100)."""
        return self.mlp(self.from_now(now) + self.from_before(before) + self.from_past(past))

    def forward(self, now: Tensor, before: Tensor, past: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(now, before, past)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class VariationalRnn(nn.Module):
    """Batch: x (chorale, t, 88) bit[88]; x_len (chorale)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 32, H: int = 100):
        super().__init__()
        self.Z = Z
        self.remember = Remember(H)
        self.begin = Begin(Z, H)
        self.move = Move(Z, H)
        self.sound = Sound(Z, H)
        self.hear = Hear(Z, H)
        self.track = Track(Z, H)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (chorale,), in nats: elbo(samples=1)."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        x_len = batch["x_len"]  # (chorale,)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        remember = self.remember.prefixes(x)  # (chorale, t, H)
        hear_loc, hear_scale_raw = self.hear(x, remember)  # (chorale, t, Z)
        hear_scale = F.softplus(hear_scale_raw)  # (chorale, t, Z)
        z_steps = []
        z_loc_steps = []
        z_scale_steps = []
        for t in range(x.shape[1]):
            if t == 0:
                z_now = hear_loc[:, t] + hear_scale[:, t] * torch.randn_like(hear_loc[:, t])  # (chorale, Z)
                z_loc_steps.append(hear_loc[:, t])
                z_scale_steps.append(hear_scale[:, t])
            else:
                track_loc, track_scale_raw = self.track(x[:, t], z_steps[t - 1], remember[:, t])  # (chorale, Z)
                track_scale = F.softplus(track_scale_raw)  # (chorale, Z)
                z_now = track_loc + track_scale * torch.randn_like(track_loc)  # (chorale, Z)
                z_loc_steps.append(track_loc)
                z_scale_steps.append(track_scale)
            z_steps.append(z_now)
        z = torch.stack(z_steps, 1)  # (chorale, t, Z)
        z_loc = torch.stack(z_loc_steps, 1)  # (chorale, t, Z)
        z_scale = torch.stack(z_scale_steps, 1)  # (chorale, t, Z)
        begin_loc, begin_scale_raw = self.begin(remember)  # (chorale, t, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, t, Z)
        kl_z = kl_normal_normal(z_loc, z_scale, begin_loc, begin_scale).sum(-1)  # (chorale, t)
        z_past = F.pad(z, (0, 0, 1, 0))[:, :x.shape[1]]  # (chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_past, remember)  # (chorale, t, Z)
        move_scale = F.softplus(move_scale_raw)  # (chorale, t, Z)
        kl_z_2 = kl_normal_normal(z_loc, z_scale, move_loc, move_scale).sum(-1)  # (chorale, t)
        kl_z_3 = torch.where((at_t == 0), kl_z, kl_z_2)  # (chorale, t)
        sound = self.sound(z, remember)  # (chorale, t, 88)
        log_x = -F.binary_cross_entropy_with_logits(sound, x, reduction="none").sum(-1)  # (chorale, t)
        log_z_over_t = torch.where(inside_t, -self.kl_weight * kl_z_3, 0.0).sum(1)  # (chorale,)
        log_x_over_t = torch.where(inside_t, log_x, 0.0).sum(1)  # (chorale,)
        return log_z_over_t + log_x_over_t  # (chorale,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, chorale)."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        x_len = batch["x_len"]  # (chorale,)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        remember = self.remember.prefixes(x)  # (chorale, t, H)
        hear_loc, hear_scale_raw = self.hear(x, remember)  # (chorale, t, Z)
        hear_scale = F.softplus(hear_scale_raw)  # (chorale, t, Z)
        z_steps = []
        z_loc_steps = []
        z_scale_steps = []
        for t in range(x.shape[1]):
            if t == 0:
                z_now = hear_loc[:, t] + hear_scale[:, t] * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, chorale, Z)
                z_loc_steps.append(hear_loc[:, t].expand(samples, x.shape[0], self.Z))
                z_scale_steps.append(hear_scale[:, t].expand(samples, x.shape[0], self.Z))
            else:
                track_loc, track_scale_raw = self.track(x[:, t], z_steps[t - 1], remember[:, t])  # (s*, chorale, Z)
                track_scale = F.softplus(track_scale_raw)  # (s*, chorale, Z)
                z_now = track_loc + track_scale * torch.randn_like(track_loc)  # (s*, chorale, Z)
                z_loc_steps.append(track_loc)
                z_scale_steps.append(track_scale)
            z_steps.append(z_now)
        z = torch.stack(z_steps, 2)  # (s*, chorale, t, Z)
        z_loc = torch.stack(z_loc_steps, 2)  # (s*, chorale, t, Z)
        z_scale = torch.stack(z_scale_steps, 2)  # (s*, chorale, t, Z)
        begin_loc, begin_scale_raw = self.begin(remember)  # (chorale, t, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, t, Z)
        log_p_z = normal_vector_log_prob(z, begin_loc, begin_scale)  # (s*, chorale, t)
        z_past = F.pad(z, (0, 0, 1, 0))[:, :, :x.shape[1]]  # (s*, chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_past, remember)  # (s*, chorale, t, Z)
        move_scale = F.softplus(move_scale_raw)  # (s*, chorale, t, Z)
        log_p_z_2 = normal_vector_log_prob(z, move_loc, move_scale)  # (s*, chorale, t)
        log_p_z_3 = torch.where((at_t == 0), log_p_z, log_p_z_2)  # (s*, chorale, t)
        log_q_z = normal_vector_log_prob(z, z_loc, z_scale)  # (s*, chorale, t)
        log_ratio_z = log_p_z_3 - log_q_z  # (s*, chorale, t)
        sound = self.sound(z, remember)  # (s*, chorale, t, 88)
        log_x = -F.binary_cross_entropy_with_logits(sound, x.expand_as(sound), reduction="none").sum(-1)  # (s*, chorale, t)
        log_z_over_t = torch.where(inside_t, log_ratio_z, 0.0).sum(2)  # (s*, chorale)
        log_x_over_t = torch.where(inside_t, log_x, 0.0).sum(2)  # (s*, chorale)
        log_prob = log_z_over_t + log_x_over_t  # (s*, chorale)
        return log_prob

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, chorale) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        x_len = batch["x_len"]  # (chorale,)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        remember = self.remember.prefixes(x)  # (chorale, t, H)
        hear_loc, hear_scale_raw = self.hear(x, remember)  # (chorale, t, Z)
        hear_scale = F.softplus(hear_scale_raw)  # (chorale, t, Z)
        z_steps = []
        z_loc_steps = []
        z_scale_steps = []
        for t in range(x.shape[1]):
            if t == 0:
                z_now = hear_loc[:, t] + hear_scale[:, t] * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, chorale, Z)
                z_loc_steps.append(hear_loc[:, t].expand(samples, x.shape[0], self.Z))
                z_scale_steps.append(hear_scale[:, t].expand(samples, x.shape[0], self.Z))
            else:
                track_loc, track_scale_raw = self.track(x[:, t], z_steps[t - 1], remember[:, t])  # (s*, chorale, Z)
                track_scale = F.softplus(track_scale_raw)  # (s*, chorale, Z)
                z_now = track_loc + track_scale * torch.randn_like(track_loc)  # (s*, chorale, Z)
                z_loc_steps.append(track_loc)
                z_scale_steps.append(track_scale)
            z_steps.append(z_now)
        z = torch.stack(z_steps, 2)  # (s*, chorale, t, Z)
        z_loc = torch.stack(z_loc_steps, 2)  # (s*, chorale, t, Z)
        z_scale = torch.stack(z_scale_steps, 2)  # (s*, chorale, t, Z)
        begin_loc, begin_scale_raw = self.begin(remember)  # (chorale, t, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, t, Z)
        log_p_z = normal_vector_log_prob(z, begin_loc, begin_scale)  # (s*, chorale, t)
        z_past = F.pad(z, (0, 0, 1, 0))[:, :, :x.shape[1]]  # (s*, chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_past, remember)  # (s*, chorale, t, Z)
        move_scale = F.softplus(move_scale_raw)  # (s*, chorale, t, Z)
        log_p_z_2 = normal_vector_log_prob(z, move_loc, move_scale)  # (s*, chorale, t)
        log_p_z_3 = torch.where((at_t == 0), log_p_z, log_p_z_2)  # (s*, chorale, t)
        log_q_z = normal_vector_log_prob(z, z_loc, z_scale)  # (s*, chorale, t)
        log_ratio_z = log_p_z_3 - log_q_z  # (s*, chorale, t)
        log_z_over_t = torch.where(inside_t, log_ratio_z, 0.0).sum(2)  # (s*, chorale)
        return {"z": (log_z_over_t, None)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        x_len = lengths["t"]  # (chorale,)
        t_size = max(int(x_len.max()), 1)
        z = self.one.new_zeros(n, t_size, self.Z)  # (chorale, t, Z)
        x = self.one.new_zeros(n, t_size, 88)  # (chorale, t, 88)
        for t in range(t_size):
            if t == 0:
                remember = self.remember.prefixes(x)  # (chorale, t, H)
                begin_loc, begin_scale_raw = self.begin(remember[:, t])  # (chorale, Z)
                begin_scale = F.softplus(begin_scale_raw)  # (chorale, Z)
                z_now = decide(torch.distributions.Normal(loc=begin_loc, scale=begin_scale).expand((n, self.Z,)), "sample", True)  # (chorale, Z)
                z[:, t] = z_now
            else:
                remember_2 = self.remember.prefixes(x)  # (chorale, t, H)
                move_loc, move_scale_raw = self.move(z[:, t - 1], remember_2[:, t])  # (chorale, Z)
                move_scale = F.softplus(move_scale_raw)  # (chorale, Z)
                z_now_2 = decide(torch.distributions.Normal(loc=move_loc, scale=move_scale).expand((n, self.Z,)), "sample", True)  # (chorale, Z)
                z[:, t] = z_now_2
            remember_3 = self.remember.prefixes(x)  # (chorale, t, H)
            sound = self.sound(z[:, t], remember_3[:, t])  # (chorale, 88)
            x_now = decide(torch.distributions.Bernoulli(logits=sound).expand((n, 88,)), rule, True)  # (chorale, 88)
            x[:, t] = x_now
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
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)
