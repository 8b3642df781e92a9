"""EightSchools: emitted by vispec from eight_schools.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=16)

    log p = kl_eta + log_y

    mu     elbo(samples=16); shared by all rows; guide Normal
    tau    elbo(samples=16); shared by all rows; guide LogNormal
    sigma  data; given by the data
    eta    elbo(samples=16); continuous; guide Normal
    y      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def half_cauchy_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 / π - log scale - log(1 + (value / scale)²), elementwise; -inf below 0."""
    density = -0.45158270528945486 - scale.log() - torch.log1p((value / scale).square())  # log(2 / π)
    return torch.where(value >= 0, density, -torch.inf)


def log_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(log value; loc, scale²) - log value, elementwise; -inf at and below 0."""
    inside = value > 0
    log = torch.where(inside, value, 1.0).log()
    density = -0.5 * ((log - loc) / scale).square() - scale.log() - log - 0.9189385332046727  # log(2π) / 2
    return torch.where(inside, density, -torch.inf)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    return law.mode


def kl_normal_standard(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale²) ‖ N(0, 1)) = ½(scale² + loc² − 1) − log scale."""
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


def kl_normal_normal(q_loc: Tensor, q_scale: Tensor, p_loc: Tensor, p_scale: Tensor) -> Tensor:
    """KL(N(q_loc, q_scale²) ‖ N(p_loc, p_scale²))."""
    ratio = q_scale / p_scale
    return 0.5 * (ratio.square() + ((q_loc - p_loc) / p_scale).square() - 1) - ratio.log()


class EncodeEta(nn.Module):
    """(sigma: positive, y: real) → (loc: real, scale: positive): eta."""

    def __init__(self):
        super().__init__()
        self.from_sigma = nn.Linear(1, 128)
        self.from_y = nn.Linear(1, 128, bias=False)
        self.mlp = nn.Sequential(nn.ReLU())
        self.out = nn.Linear(128, 2)

    def features(self, sigma: Tensor, y: Tensor) -> Tensor:
        """sigma (*B), y (*B) → (*B, 128)."""
        return self.mlp(self.from_sigma(sigma.unsqueeze(-1)) + self.from_y(y.unsqueeze(-1)))

    def forward(self, sigma: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """loc (*B), scale (*B) before softplus."""
        return self.out(self.features(sigma, y)).unbind(-1)


class EightSchools(nn.Module):
    """Batch: sigma (school) positive; y (school) real."""

    exact = False
    estimator = "elbo(samples=16)"

    def __init__(self):
        super().__init__()
        self.mu_loc = nn.Parameter(torch.zeros(()))
        self.raw_mu_scale = nn.Parameter(torch.zeros(()))
        self.tau_loc = nn.Parameter(torch.zeros(()))
        self.raw_tau_scale = nn.Parameter(torch.zeros(()))
        self.encode_eta = EncodeEta()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's

    @property
    def mu_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_mu_scale)

    @mu_scale.setter
    def mu_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_mu_scale.copy_(softplus_inverse(value))

    @property
    def tau_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_tau_scale)

    @tau_scale.setter
    def tau_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_tau_scale.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (school,), in nats: elbo(samples=16)."""
        mu, tau, _ = self.shared() if shared is None else shared
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(sigma, y)  # (school,)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (school,)
        eta = encode_eta_loc + encode_eta_scale * self.one.new_empty(16, sigma.shape[0]).normal_()  # (s*, school)
        kl_eta = kl_normal_standard(encode_eta_loc, encode_eta_scale)  # (school,)
        minus_kl_eta = -kl_eta  # (school,)
        value = tau[:, None] * eta  # (s*, school)
        value_2 = mu[:, None] + value  # (s*, school)
        log_y = normal_log_prob(y, value_2, sigma)  # (s*, school)
        log_prob = minus_kl_eta + log_y  # (s*, school)
        return log_prob.mean(0)  # (school,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """mu (s*,); tau (s*,); log p − log q of all that rows share."""
        mu_scale = F.softplus(self.raw_mu_scale)
        mu = self.mu_loc + mu_scale * self.one.new_empty(16).normal_()  # (s*,)
        tau_scale = F.softplus(self.raw_tau_scale)
        tau = torch.distributions.LogNormal(loc=self.tau_loc, scale=tau_scale).expand((16,)).rsample()  # (s*,)
        kl_mu = kl_normal_normal(self.mu_loc, mu_scale, (self.one * 0), (self.one * 5))
        minus_kl_mu = -kl_mu
        log_p_tau = half_cauchy_log_prob(tau, (self.one * 5))  # (s*,)
        log_q_tau = log_normal_log_prob(tau, self.tau_loc, tau_scale)  # (s*,)
        log_ratio_tau = log_p_tau - log_q_tau  # (s*,)
        part = log_ratio_tau.mean(0)
        log_ratio = minus_kl_mu + part
        return mu, tau, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, school); what all rows share is drawn with each sample and adds nothing."""
        mu_scale = F.softplus(self.raw_mu_scale)
        mu = self.mu_loc + mu_scale * self.one.new_empty(samples).normal_()  # (s*,)
        tau_scale = F.softplus(self.raw_tau_scale)
        tau = torch.distributions.LogNormal(loc=self.tau_loc, scale=tau_scale).expand((samples,)).rsample()  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(sigma, y)  # (school,)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (school,)
        eta = encode_eta_loc + encode_eta_scale * self.one.new_empty(samples, sigma.shape[0]).normal_()  # (s*, school)
        log_p_eta = normal_log_prob(eta, (self.one * 0), (self.one * 1))  # (s*, school)
        log_q_eta = normal_log_prob(eta, encode_eta_loc, encode_eta_scale)  # (s*, school)
        log_ratio_eta = log_p_eta - log_q_eta  # (s*, school)
        value = tau[:, None] * eta  # (s*, school)
        value_2 = mu[:, None] + value  # (s*, school)
        log_y = normal_log_prob(y, value_2, sigma)  # (s*, school)
        log_prob = log_ratio_eta + log_y  # (s*, school)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        mu: real, ().
        tau: positive, ().
        eta: real, (school).
        """
        mu_scale = F.softplus(self.raw_mu_scale)
        tau_scale = F.softplus(self.raw_tau_scale)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(sigma, y)  # (school,)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (school,)
        return {"mu": {"loc": self.mu_loc, "scale": mu_scale}, "tau": {"loc": self.tau_loc, "scale": tau_scale}, "eta": {"loc": encode_eta_loc, "scale": encode_eta_scale}}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        mu, tau, _ = self.shared()
        sigma = batch["sigma"]  # (school,)
        eta = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n,)), "sample", True)  # (school,)
        value = tau[0] * eta  # (school,)
        value_2 = mu[0] + value  # (school,)
        y = decide(torch.distributions.Normal(loc=value_2, scale=sigma).expand((n,)), rule, False)  # (school,)
        return {"mu": mu[0], "tau": tau[0], "sigma": sigma, "eta": eta, "y": y}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds sigma.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean") -> dict[str, Tensor]:
        """Each observed variable, from what is given; latents are drawn. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode.
        """
        found = self.generate(len(batch["sigma"]), batch, {}, rule)
        return {name: found[name] for name in ("y",)}
