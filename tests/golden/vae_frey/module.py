"""VaeFrey: emitted by vispec from vae_frey.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    total = product of kl_z, log_x

    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# constraints: in_domain
# constraints: softplus_inverse
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


class Decode(nn.Module):
    """(z: real[Z]) → unit[28, 20]: mlp([200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 200), nn.ReLU())
        self.out = nn.Linear(200, 560)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 200)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 28, 20) log-odds."""
        return self.out(self.features(z)).unflatten(-1, (28, 20))


class Encode(nn.Module):
    """(x: real[28, 20]) → (loc: real[Z], scale: positive[Z]): mlp([200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(560, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 28, 20) → (*B, 200)."""
        return self.mlp(x.flatten(-2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class VaeFrey(nn.Module):
    """Batch: x (n, 28, 20) real[28, 20]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 10):
        super().__init__()
        self.Z = Z
        self.raw_noise = nn.Parameter(torch.zeros(()))
        self.decode = Decode(Z)
        self.encode = Encode(Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def noise(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_noise)

    @noise.setter
    def noise(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_noise.copy_(in_domain(raw, F.softplus(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(x / 255)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        decode = self.decode(z)  # (n, 28, 20)
        noise = F.softplus(self.raw_noise)
        log_x = normal_log_prob(x, 255 * decode.sigmoid(), 25 * noise).sum((1, 2))  # (n,)
        kl_z = kl_normal_standard_vector(encode_loc, encode_scale)  # (n,)
        return log_x - kl_z  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(x / 255)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, n, Z)
        decode = self.decode(z)  # (s*, n, 28, 20)
        noise = F.softplus(self.raw_noise)
        log_x = normal_log_prob(x, 255 * decode.sigmoid(), 25 * noise).sum((2, 3))  # (s*, n)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        return log_p_z - log_q_z + log_x  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(x / 255)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        noise_z = self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z = encode_loc + encode_scale * noise_z  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        return {"z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 28, 20)
        encode_loc, encode_scale_raw = self.encode(x / 255)  # (n, Z)
        return {"z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        z: real[Z], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = self.one.new_empty(n, self.Z).normal_()  # (n, Z)
        decode = self.decode(z)  # (n, 28, 20)
        product = 255 * decode.sigmoid()  # (n, 28, 20)
        noise = F.softplus(self.raw_noise)
        product_2 = 25 * noise
        x = decide(torch.distributions.Normal(loc=product, scale=product_2).expand((n, 28, 20)), rule, False)  # (n, 28, 20)
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
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
