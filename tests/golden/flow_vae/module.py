"""FlowVae: emitted by vispec from flow_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    total = product of ratio_z, log_x

    z  elbo(samples=1); continuous; guide Flow, whose divergence is estimated at its draws
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.autoregressive: AutoregressiveLayer
# draws.autoregressive: AutoregressiveLayers
# draws.autoregressive: MaskedLinear
# heap: keep_pages
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Decode(nn.Module):
    """(z: real[Z]) → unit[784]: mlp([400])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 400), nn.ReLU())
        self.out = nn.Linear(400, 784)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 400)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z))


class Encode(nn.Module):
    """(x: bit[784]) → (loc: real[Z], scale: positive[Z], context: real[H]): mlp([400])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.Z = Z
        self.H = H
        self.mlp = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
        self.out = nn.Linear(400, 2 * Z + H)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 400)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus, context (*B, H)."""
        loc, scale, context = self.out(self.features(x)).split((self.Z, self.Z, self.H), -1)
        return loc, scale.contiguous(), context  # torch's softplus is slow on slices


class FlowVae(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 20, H: int = 64):
        super().__init__()
        self.Z = Z
        self.z_flow = AutoregressiveLayers(Z, layers=2, hidden=64, context=H)
        self.decode = Decode(Z)
        self.encode = Encode(Z, H)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z), (n, H)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        total = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        z, z_2 = self.z_flow(total, encode_context)  # (n, Z), (n,)
        log_p_z = standard_normal_vector_log_prob(z)  # (n,)
        log_total_over_Z = normal_vector_log_prob(total, encode_loc, encode_scale)  # (n,)
        log_q_z = log_total_over_Z - z_2  # (n,)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_p_z - log_q_z + log_x  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z), (n, H)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        total = encode_loc + encode_scale * noise_z  # (s*, n, Z)
        z, z_2 = self.z_flow(total, encode_context)  # (s*, n, Z), (s*, n)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_total_over_Z = normal_vector_log_prob(total, encode_loc, encode_scale)  # (s*, n)
        log_q_z = log_total_over_Z - z_2  # (s*, n)
        decode = self.decode(z)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        return log_p_z - log_q_z + log_x  # (s*, n)

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides: z (s*, n, Z)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z), (n, H)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        total = encode_loc + F.softplus(encode_scale_raw) * noise_z  # (s*, n, Z)
        z, _ = self.z_flow(total, encode_context)  # (s*, n, Z)
        return {"z": z}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z), (n, H)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        total = encode_loc + encode_scale * noise_z  # (s*, n, Z)
        z, z_2 = self.z_flow(total, encode_context)  # (s*, n, Z), (s*, n)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_total_over_Z = normal_vector_log_prob(total, encode_loc, encode_scale)  # (s*, n)
        log_q_z = log_total_over_Z - z_2  # (s*, n)
        return {"z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = self.one.new_empty(n, self.Z).normal_()  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"z": z, "x": x}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
