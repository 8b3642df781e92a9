"""DiscreteCodes: emitted by vispec from discrete_codes.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, relaxed(temperature=0.5), elbo(samples=1)

    total = product of kl_b, kl_z, log_x

    b  relaxed(temperature=0.5); discrete; guide Bernoulli; biased: draws lie between the values
    z  elbo(samples=1); continuous; guide Normal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# draws.kl: kl_bernoulli
# draws.kl: kl_normal_normal
# draws.relaxed: relaxed_bit
# heap: keep_pages
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


class Spread(nn.Module):
    """(b: bit[B]) → (loc: real[Z], scale: positive[Z]): mlp([200])."""

    def __init__(self, B: int, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(B, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, b: Tensor) -> Tensor:
        """b (*B, B) → (*B, 200)."""
        return self.mlp(b)

    def forward(self, b: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(b)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Decode(nn.Module):
    """(z: real[Z]) → unit[784]: mlp([200, 200])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 784)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 200)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z))


class Recognise(nn.Module):
    """(x: bit[784]) → unit[B]: mlp([200])."""

    def __init__(self, B: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 200), nn.ReLU())
        self.out = nn.Linear(200, B)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 200)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, B) log-odds."""
        return self.out(self.features(x))


class Encode(nn.Module):
    """(x: bit[784], b: bit[B]) → (loc: real[Z], scale: positive[Z]): mlp([200, 200])."""

    def __init__(self, B: int, Z: int):
        super().__init__()
        self.from_x = nn.Linear(784, 200)
        self.from_b = nn.Linear(B, 200, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * Z)

    def features(self, x: Tensor, b: Tensor) -> Tensor:
        """x (*B, 784), b (*B, B) → (*B, 200)."""
        return self.mlp(self.from_x(x) + self.from_b(b))

    def forward(self, x: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus."""
        loc, scale = self.out(self.features(x, b)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class DiscreteCodes(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "relaxed(temperature=0.5), elbo(samples=1)"

    def __init__(self, B: int = 32, Z: int = 50):
        super().__init__()
        self.B = B
        self.raw_chance = nn.Parameter(torch.zeros(B))  # (B)
        self.spread = Spread(B, Z)
        self.decode = Decode(Z)
        self.recognise = Recognise(B)
        self.encode = Encode(B, Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def chance(self) -> Tensor:
        """unit[B]."""
        return torch.sigmoid(self.raw_chance)

    @chance.setter
    def chance(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_chance.copy_(in_domain(raw, torch.sigmoid(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = relaxed_bit(recognise, temperature=0.5, straight_through=False, training=self.training)  # (n, B)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        spread_loc, spread_scale_raw = self.spread(b)  # (n, Z)
        spread_scale = F.softplus(spread_scale_raw)  # (n, Z)
        kl = kl_normal_normal(encode_loc, encode_scale, spread_loc, spread_scale)  # (n, Z)
        kl_z = kl.sum(-1)  # (n,)
        kl_2 = kl_bernoulli(recognise, self.raw_chance)  # (n, B)
        kl_b = kl_2.sum(-1)  # (n,)
        return log_x - kl_b - kl_z  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=recognise).expand((samples, x.shape[0], self.B)).sample()  # (s*, n, B)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (s*, n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (s*, n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (s*, n, Z)
        spread_loc, spread_scale_raw = self.spread(b)  # (s*, n, Z)
        log_p_z = normal_vector_log_prob(z, spread_loc, F.softplus(spread_scale_raw))  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        decode = self.decode(z)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        value = bernoulli_log_prob(b, self.raw_chance)  # (s*, n, B)
        log_p_b = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(b, recognise)  # (s*, n, B)
        log_q_b = value_2.sum(-1)  # (s*, n)
        return log_p_b - log_q_b + (log_p_z - log_q_z) + log_x  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of b, z: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=recognise).expand((samples, x.shape[0], self.B)).sample()  # (s*, n, B)
        value = bernoulli_log_prob(b, self.raw_chance)  # (s*, n, B)
        log_p_b = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(b, recognise)  # (s*, n, B)
        log_q_b = value_2.sum(-1)  # (s*, n)
        encode_loc, encode_scale_raw = self.encode(x, b)  # (s*, n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (s*, n, Z)
        z = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (s*, n, Z)
        spread_loc, spread_scale_raw = self.spread(b)  # (s*, n, Z)
        log_p_z = normal_vector_log_prob(z, spread_loc, F.softplus(spread_scale_raw))  # (s*, n)
        log_q_z = normal_vector_log_prob(z, encode_loc, encode_scale)  # (s*, n)
        return {"b": (log_p_b - log_q_b, b), "z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of b, z; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        recognise = self.recognise(x)  # (n, B)
        recognise_prob = recognise.sigmoid()  # (n, B)
        encode_loc, encode_scale_raw = self.encode(x, recognise_prob)  # (n, Z)
        return {"b": {"probs": recognise_prob}, "z": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        b: bit[B], (n).
        z: real[Z], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        b = torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.B)).sample()  # (n, B)
        spread_loc, spread_scale_raw = self.spread(b)  # (n, Z)
        z = spread_loc + F.softplus(spread_scale_raw) * torch.randn_like(spread_loc)  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"b": b, "z": z, "x": x}

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
