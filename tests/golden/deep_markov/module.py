"""DeepMarkov: emitted by vispec from deep_markov.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    kl_z_over_t = product over t of kl_z
    log_x_over_t = product over t of log_x
    total = product of kl_z_over_t, log_x_over_t

    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_normal
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# rows: up_to_the_ends
# rows: with_room
# sums.lookup: steps_back
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Move(nn.Module):
    """(before: real[Z]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 100), nn.ReLU())
        self.out = nn.Linear(100, 2 * Z)

    def features(self, before: Tensor) -> Tensor:
        """before (*B, Z) → (*B, 100)."""
        return self.mlp(before)

    def forward(self, before: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(before)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Sound(nn.Module):
    """(z: real[Z]) → unit[88]: mlp([100])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 100), nn.ReLU())
        self.out = nn.Linear(100, 88)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 100)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 88) log-odds."""
        return self.out(self.features(z))


class Listen(nn.Module):
    """(notes: bit[88]*) → real[H]*: lstm(hidden=100, bidirectional)."""

    def __init__(self, H: int):
        super().__init__()
        self.lstm = Bidirectional("LSTM", 88, 100)
        self.out = nn.Linear(200, H)

    def features(self, notes: Tensor, notes_mask: Tensor | None = None) -> Tensor:
        """notes (*B, T, 88) → (*B, T, 200)."""
        return self.lstm(notes, notes_mask)

    def forward(self, notes: Tensor, notes_mask: Tensor | None = None) -> Tensor:
        """(*B, T, H)."""
        return self.out(self.features(notes, notes_mask=notes_mask))


class Begin(nn.Module):
    """(heard: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(H, 100), nn.ReLU())
        self.out = nn.Linear(100, 2 * Z)

    def features(self, heard: Tensor) -> Tensor:
        """heard (*B, H) → (*B, 100)."""
        return self.mlp(heard)

    def forward(self, heard: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(heard)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Track(nn.Module):
    """(before: real[Z], heard: real[H]) → (loc: real[Z], scale: positive[Z]): mlp([100])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.from_before = nn.Linear(Z, 100)
        self.from_heard = nn.Linear(H, 100, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(100, 2 * Z)

    def features(self, before: Tensor, heard: Tensor) -> Tensor:
        """before (*B, Z), heard (*B, H) → (*B, 100)."""
        return self.mlp(self.from_before(before) + self.from_heard(heard))

    def forward(self, before: Tensor, heard: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(before, heard)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class DeepMarkov(nn.Module):
    """Batch: x (chorale, t, 88) bit[88]; x_len (chorale)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 32, H: int = 100):
        super().__init__()
        self.Z = Z
        self.move = Move(Z)
        self.sound = Sound(Z)
        self.listen = Listen(H)
        self.begin = Begin(Z, H)
        self.track = Track(Z, H)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (chorale,), in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (chorale,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        heard = self.listen(x, notes_mask=inside_t)  # (chorale, t, H)
        heard_at = heard[:, 0]  # (chorale, H)
        begin_loc, begin_scale_raw = self.begin(heard_at)  # (chorale, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, Z)
        z_steps = []
        z_loc_steps = []
        z_scale_steps = []
        for t in range(x.shape[1]):
            if t == 0:
                z_now = begin_loc + begin_scale * torch.randn_like(begin_loc)  # (chorale, Z)
                z_steps.append(z_now)
                z_loc_steps.append(begin_loc)
                z_scale_steps.append(begin_scale)
            else:
                heard_at_2 = heard[:, t]  # (chorale, H)
                z_loc_now, track_scale_raw = self.track(z_steps[t - 1], heard_at_2)  # (chorale, Z)
                z_scale_now = F.softplus(track_scale_raw)  # (chorale, Z)
                z_now = z_loc_now + z_scale_now * torch.randn_like(z_loc_now)  # (chorale, Z)
                z_steps.append(z_now)
                z_loc_steps.append(z_loc_now)
                z_scale_steps.append(z_scale_now)
        z = torch.stack(z_steps, 1)  # (chorale, t, Z)
        z_loc = torch.stack(z_loc_steps, 1)  # (chorale, t, Z)
        z_scale = torch.stack(z_scale_steps, 1)  # (chorale, t, Z)
        z_before = steps_back(z, 1, dim=1, fill=0.0)  # (chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_before)  # (chorale, t, Z)
        move_scale = F.softplus(move_scale_raw)  # (chorale, t, Z)
        kl = kl_normal_normal(z_loc, z_scale, move_loc, move_scale)  # (chorale, t, Z)
        kl_over_Z = kl.sum(-1)  # (chorale, t)
        kl_over_Z_2 = kl_normal_standard_vector(z_loc, z_scale)  # (chorale, t)
        kl_z = torch.where(at_t == 0, kl_over_Z_2, kl_over_Z)  # (chorale, t)
        value = torch.where(inside_t, -(self.kl_weight * kl_z), 0.0)  # (chorale, t)
        sound = self.sound(z)  # (chorale, t, 88)
        log_x = -F.binary_cross_entropy_with_logits(sound, x, reduction="none").sum(-1)  # (chorale, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (chorale,)
        return value.sum(-1) + sum_t  # (chorale,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, chorale)."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (chorale,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        heard = self.listen(x, notes_mask=inside_t)  # (chorale, t, H)
        heard_at = heard[:, 0]  # (chorale, H)
        begin_loc, begin_scale_raw = self.begin(heard_at)  # (chorale, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, Z)
        z = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        z_loc = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        z_scale = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        for t in range(x.shape[1]):
            if t == 0:
                noise_z = self.one.new_empty(samples, x_len.shape[0], self.Z).normal_()  # (s*, chorale, Z)
                z_now = begin_loc + begin_scale * noise_z  # (s*, chorale, Z)
                z[:, :, t] = z_now
                z_loc[:, :, t] = begin_loc
                z_scale[:, :, t] = begin_scale
            else:
                heard_at_2 = heard[:, t]  # (chorale, H)
                z_loc_now, track_scale_raw = self.track(z[:, :, t - 1], heard_at_2)  # (s*, chorale, Z)
                z_scale_now = F.softplus(track_scale_raw)  # (s*, chorale, Z)
                z_now = z_loc_now + z_scale_now * torch.randn_like(z_loc_now)  # (s*, chorale, Z)
                z[:, :, t] = z_now
                z_loc[:, :, t] = z_loc_now
                z_scale[:, :, t] = z_scale_now
        z_before = steps_back(z, 1, dim=2, fill=0.0)  # (s*, chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_before)  # (s*, chorale, t, Z)
        log_z_over_Z = normal_vector_log_prob(z, move_loc, F.softplus(move_scale_raw))  # (s*, chorale, t)
        log_z_over_Z_2 = standard_normal_vector_log_prob(z)  # (s*, chorale, t)
        log_p_z = torch.where(at_t == 0, log_z_over_Z_2, log_z_over_Z)  # (s*, chorale, t)
        log_q_z = normal_vector_log_prob(z, z_loc, z_scale)  # (s*, chorale, t)
        value = torch.where(inside_t, log_p_z - log_q_z, 0.0)  # (s*, chorale, t)
        sound = self.sound(z)  # (s*, chorale, t, 88)
        log_x = -F.binary_cross_entropy_with_logits(sound, x.expand_as(sound), reduction="none").sum(-1)  # (s*, chorale, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (s*, chorale)
        return value.sum(-1) + sum_t  # (s*, chorale)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, chorale) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        x = batch["x"]  # (chorale, t, 88)
        at_t = torch.arange(x.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (chorale,)
        inside_t = at_t < x_len[:, None]  # (chorale, t)
        heard = self.listen(x, notes_mask=inside_t)  # (chorale, t, H)
        heard_at = heard[:, 0]  # (chorale, H)
        begin_loc, begin_scale_raw = self.begin(heard_at)  # (chorale, Z)
        begin_scale = F.softplus(begin_scale_raw)  # (chorale, Z)
        z = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        z_loc = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        z_scale = self.one.new_zeros(samples, x_len.shape[0], x.shape[1], self.Z)  # (s*, chorale, t, Z)
        for t in range(x.shape[1]):
            if t == 0:
                noise_z = self.one.new_empty(samples, x_len.shape[0], self.Z).normal_()  # (s*, chorale, Z)
                z_now = begin_loc + begin_scale * noise_z  # (s*, chorale, Z)
                z[:, :, t] = z_now
                z_loc[:, :, t] = begin_loc
                z_scale[:, :, t] = begin_scale
            else:
                heard_at_2 = heard[:, t]  # (chorale, H)
                z_loc_now, track_scale_raw = self.track(z[:, :, t - 1], heard_at_2)  # (s*, chorale, Z)
                z_scale_now = F.softplus(track_scale_raw)  # (s*, chorale, Z)
                z_now = z_loc_now + z_scale_now * torch.randn_like(z_loc_now)  # (s*, chorale, Z)
                z[:, :, t] = z_now
                z_loc[:, :, t] = z_loc_now
                z_scale[:, :, t] = z_scale_now
        z_before = steps_back(z, 1, dim=2, fill=0.0)  # (s*, chorale, t, Z)
        move_loc, move_scale_raw = self.move(z_before)  # (s*, chorale, t, Z)
        log_z_over_Z = normal_vector_log_prob(z, move_loc, F.softplus(move_scale_raw))  # (s*, chorale, t)
        log_z_over_Z_2 = standard_normal_vector_log_prob(z)  # (s*, chorale, t)
        log_p_z = torch.where(at_t == 0, log_z_over_Z_2, log_z_over_Z)  # (s*, chorale, t)
        log_q_z = normal_vector_log_prob(z, z_loc, z_scale)  # (s*, chorale, t)
        value = torch.where(inside_t, log_p_z - log_q_z, 0.0)  # (s*, chorale, t)
        return {"z": (value.sum(-1), None)}

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        z = self.one.new_zeros(n, t_size, self.Z)  # (chorale, t, Z)
        for t in range(t_size):
            if t == 0:
                z_now = self.one.new_empty(n, self.Z).normal_()  # (chorale, Z)
                z[:, t] = z_now
            else:
                move_loc, move_scale_raw = self.move(z[:, t - 1])  # (chorale, Z)
                z_now = move_loc + F.softplus(move_scale_raw) * torch.randn_like(move_loc)  # (chorale, Z)
                z[:, t] = z_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (chorale, t)
        z_padded = torch.where(inside_t[:, :, None], z, 0.0)  # (chorale, t, Z)
        sound = self.sound(z)  # (chorale, t, 88)
        x = decide(torch.distributions.Bernoulli(logits=sound).expand((n, t_size, 88)), rule, False)  # (chorale, t, 88)
        x_padded = up_to_the_ends(x, inside_t)  # (chorale, t, 88)
        return {"z": z_padded, "x": x_padded, "x_len": lengths["t"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("t",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
