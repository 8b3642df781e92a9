"""Bnn: emitted by vispec from bnn.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)


    noise  elbo(samples=1); shared by all rows; guide LogNormal; no conjugate pair: Gamma is not conjugate to Normal with scale noise
    y      data; given by the data
    x      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# layers.bayesian: RandomLinear
# layers.bayesian: RandomWeights
# layers.bayesian: kl_of_weights
# told.decide: decide
# told.decide: predictive


def gamma_log_prob(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; concentration, rate), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, concentration, rate = torch.where(inside, value, 1.0).double(), concentration.double(), rate.double()
    kernel = (concentration - 1) * positive.log() - rate * positive
    found = kernel + (concentration * rate.log() - torch.lgamma(concentration))
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def into_positive(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(x), and the logarithm of its derivative, elementwise."""
    return x.exp(), x


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


class FNet(nn.Module):
    """(y: real[D]) → real: mlp([50])."""

    def __init__(self, D: int):
        super().__init__()
        self.mlp = nn.Sequential(RandomLinear(D, 50, 0.0, 1.0), nn.ReLU())
        self.out = RandomLinear(50, 1, 0.0, 1.0)

    def features(self, y: Tensor) -> Tensor:
        """y (*B, D) → (*B, 50)."""
        return self.mlp(y)

    def forward(self, y: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(y)).squeeze(-1)


class Bnn(nn.Module):
    """Batch: y (n, D) real[D]; x (n) real."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, D: int):
        super().__init__()
        self.noise_loc = nn.Parameter(0.1 * torch.randn(()))
        self.raw_noise_scale = nn.Parameter(torch.full((), -2.252))
        self.f = FNet(D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def noise_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_noise_scale)

    @noise_scale.setter
    def noise_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_noise_scale.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        noise, _ = self.shared() if shared is None else shared
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n,)
        x = batch["x"]  # (n,)
        return normal_log_prob(x, f, noise)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """noise (); log p − log q of all that rows share."""
        noise_scale = F.softplus(self.raw_noise_scale)
        total = self.noise_loc + noise_scale * torch.randn_like(self.noise_loc)
        noise, into = into_positive(total)
        log_p_noise = gamma_log_prob(noise, self.one * 6.0, self.one * 6.0)
        log_total = normal_log_prob(total, self.noise_loc, noise_scale)
        log_q_noise = log_total - into
        kl_f = kl_of_weights(self.f)
        log_ratio = log_p_noise - log_q_noise - kl_f
        return noise, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n);
        what all rows share is drawn with each sample and adds nothing."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_noise = self.one.new_empty(samples).normal_()  # (s*,)
        total = self.noise_loc + noise_scale * noise_noise  # (s*,)
        noise, _ = into_positive(total)  # (s*,)
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n,)
        x = batch["x"]  # (n,)
        return normal_log_prob(x, f, noise[:, None])  # (s*, n)

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides: noise (s*)."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_noise = self.one.new_empty(samples).normal_()  # (s*,)
        total = self.noise_loc + noise_scale * noise_noise  # (s*,)
        noise, _ = into_positive(total)  # (s*,)
        return {"noise": noise}

    @torch.no_grad()
    def shared_draws(self, samples: int) -> dict[str, Tensor]:
        """Draws of what all rows share, noise (s*), and of each draw log p and log q (s*)."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_noise = self.one.new_empty(samples).normal_()  # (s*,)
        total = self.noise_loc + noise_scale * noise_noise  # (s*,)
        noise, into = into_positive(total)  # (s*,)
        log_p_noise = gamma_log_prob(noise, self.one * 6.0, self.one * 6.0)  # (s*,)
        log_total = normal_log_prob(total, self.noise_loc, noise_scale)  # (s*,)
        log_q_noise = log_total - into  # (s*,)
        return {"noise": noise, "(log_p)": log_p_noise, "(log_q)": log_q_noise}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of noise; drawn latents are read at their locations."""
        noise_scale = F.softplus(self.raw_noise_scale)
        return {"noise": {"loc": self.noise_loc, "scale": noise_scale}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        noise: positive, ().
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        noise, _ = self.shared()
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n,)
        x = decide(torch.distributions.Normal(loc=f, scale=noise).expand((n,)), rule, False)  # (n,)
        return {"noise": noise, "y": y, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
