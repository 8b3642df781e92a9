"""BitsNvil: emitted by vispec from bits_nvil.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, score(samples=4, baseline=nvil)

    total = product of ratio_b, log_x

    b  score(samples=4, baseline=nvil); discrete; guide Bernoulli
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# draws.score: mean_possible
# draws.score: regression
# draws.score: score_bound
# draws.score: score_bound_nvil
# draws.score: signal_of
# heap: keep_pages
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# sums.logsum: impossible_alone
# told.decide: decide
# told.decide: predictive


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


class Decode(nn.Module):
    """(b: bit[B]) → unit[784]: linear(784)."""

    def __init__(self, B: int):
        super().__init__()
        self.linear = nn.Linear(B, 784)
        self.out = nn.Linear(784, 784)

    def features(self, b: Tensor) -> Tensor:
        """b (*B, B) → (*B, 784)."""
        return self.linear(b)

    def forward(self, b: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(b))


class Encode(nn.Module):
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


class Baseline(nn.Module):
    """(x: bit[784]) → real: mlp([128])."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 128), nn.ReLU())
        self.out = nn.Linear(128, 1)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 128)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(x)).squeeze(-1)


class BitsNvil(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "score(samples=4, baseline=nvil)"

    def __init__(self, B: int = 200):
        super().__init__()
        self.B = B
        self.raw_chance = nn.Parameter(torch.zeros(B))  # (B)
        self.decode = Decode(B)
        self.encode = Encode(B)
        self.baseline = Baseline()
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
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((4, x.shape[0], self.B)).sample()  # (s*, n, B)
        value = bernoulli_log_prob(b, self.raw_chance)  # (s*, n, B)
        log_p_b = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(b, encode)  # (s*, n, B)
        log_q_b = value_2.sum(-1)  # (s*, n)
        decode = self.decode(b)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        total = log_p_b - log_q_b + log_x  # (s*, n)
        baseline = self.baseline(x)  # (n,)
        return score_bound_nvil(total, log_q_b, baseline)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.B)).sample()  # (s*, n, B)
        value = bernoulli_log_prob(b, self.raw_chance)  # (s*, n, B)
        log_p_b = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(b, encode)  # (s*, n, B)
        log_q_b = value_2.sum(-1)  # (s*, n)
        decode = self.decode(b)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        return log_p_b - log_q_b + log_x  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of b: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.B)).sample()  # (s*, n, B)
        value = bernoulli_log_prob(b, self.raw_chance)  # (s*, n, B)
        log_p_b = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(b, encode)  # (s*, n, B)
        log_q_b = value_2.sum(-1)  # (s*, n)
        return {"b": (log_p_b - log_q_b, b)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of b; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        return {"b": {"probs": encode.sigmoid()}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        b: bit[B], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        b = torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.B)).sample()  # (n, B)
        decode = self.decode(b)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"b": b, "x": x}

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
