"""EightSchools: emitted by vispec from eight_schools.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=32)

    total = product of kl_eta, log_y

    mu     elbo(samples=32); shared by all rows; guide flow over mu, tau
    tau    elbo(samples=32); shared by all rows; guide flow over mu, tau
    sigma  data; given by the data
    eta    elbo(samples=32); continuous; guide Normal
    y      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.autoregressive: AutoregressiveLayer
# draws.autoregressive: AutoregressiveLayers
# draws.autoregressive: MaskedLinear
# draws.joint_guide: AutoregressiveFlow
# draws.joint_guide: cut
# draws.joint_guide: log_standard_normal
# draws.joint_guide: shaped
# draws.kl: kl_normal_standard
# heap: keep_pages
# layers.standardise: Standardise
# layers.standardise: learn_scales
# probability: LogOfProbability
# probability: log_of
# told.decide: decide
# told.decide: predictive


def half_cauchy_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 / π - log scale - log(1 + (value / scale)²), elementwise; -inf below 0."""
    density = -0.45158270528945486 - scale.log() - torch.log1p((value / scale).square())  # log(2 / π)
    return torch.where(value >= 0, density, -torch.inf)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


class EncodeEta(nn.Module):
    """(mu: real, log_tau: real, sigma: positive, y: real) → (loc: real, scale: positive):

    standardise(of=sigma) |> standardise(of=y) |> mlp([128])
    """

    def __init__(self):
        super().__init__()
        self.standardise_sigma = Standardise(1)
        self.standardise_y = Standardise(1)
        self.from_mu = nn.Linear(1, 128)
        self.from_log_tau = nn.Linear(1, 128, bias=False)
        self.from_sigma = nn.Linear(1, 128, bias=False)
        self.from_y = nn.Linear(1, 128, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(128, 2)

    def features(self, mu: Tensor, log_tau: Tensor, sigma: Tensor, y: Tensor) -> Tensor:
        """mu (*B), log_tau (*B), sigma (*B), y (*B) → (*B, 128)."""
        h = self.mlp(
            self.from_mu(mu.unsqueeze(-1))
            + self.from_log_tau(log_tau.unsqueeze(-1))
            + self.from_sigma(self.standardise_sigma(sigma.unsqueeze(-1)))
            + self.from_y(self.standardise_y(y.unsqueeze(-1))),
        )  # (*B, 128)
        return h

    def forward(self, mu: Tensor, log_tau: Tensor, sigma: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """loc (*B), scale (*B) before softplus."""
        loc, scale = self.out(self.features(mu, log_tau, sigma, y)).unbind(-1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class EightSchools(nn.Module):
    """Batch: sigma (school) positive; y (school) real."""

    exact = False
    estimator = "elbo(samples=32)"

    def __init__(self):
        super().__init__()
        self.joint_guide = AutoregressiveFlow(2, layers=2, hidden=32)
        self.encode_eta = EncodeEta()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (school,), in nats."""
        mu, tau, _ = self.shared() if shared is None else shared
        log_tau = log_of(tau)  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu[:, None], log_tau[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        theta = mu[:, None] + tau[:, None] * eta  # (s*, school)
        log_y = normal_log_prob(y, theta, sigma)  # (s*, school)
        kl_eta = kl_normal_standard(encode_eta_loc, encode_eta_scale)  # (s*, school)
        return (log_y - kl_eta).mean(0)  # (school,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """mu (s*); tau (s*); log p − log q of all that rows share."""
        noise_joint = self.one.new_empty(32, 2).normal_()  # (s*, D)
        joint, log_q = self.joint_guide(noise_joint)  # (s*, D), (s*,)
        raw_mu, raw_tau = cut(joint, shapes=((), ()))  # (s*,)
        tau = raw_tau.exp()  # (s*,)
        log_p_tau = half_cauchy_log_prob(tau, self.one * 5.0)  # (s*,)
        ratio = log_p_tau.mean(-1)
        log_p_mu = normal_log_prob(raw_mu, self.one * 0.0, self.one * 5.0)  # (s*,)
        ratio_2 = log_p_mu.mean(-1)
        log_q_joint = log_q - raw_tau  # (s*,)
        ratio_3 = log_q_joint.mean(-1)
        log_ratio = ratio_2 + ratio - ratio_3
        return raw_mu, tau, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, school);
        what all rows share is drawn with each sample and adds nothing."""
        noise_joint = self.one.new_empty(samples, 2).normal_()  # (s*, D)
        joint, _ = self.joint_guide(noise_joint)  # (s*, D)
        raw_mu, raw_tau = cut(joint, shapes=((), ()))  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(raw_mu[:, None], raw_tau[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        tau = raw_tau.exp()  # (s*,)
        theta = raw_mu[:, None] + tau[:, None] * eta  # (s*, school)
        log_y = normal_log_prob(y, theta, sigma)  # (s*, school)
        log_p_eta = normal_log_prob(eta, self.one * 0.0, self.one * 1.0)  # (s*, school)
        log_q_eta = normal_log_prob(eta, encode_eta_loc, encode_eta_scale)  # (s*, school)
        return log_p_eta - log_q_eta + log_y  # (s*, school)

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides: mu (s*); tau (s*); eta (s*, school); theta (s*, school)."""
        noise_joint = self.one.new_empty(samples, 2).normal_()  # (s*, D)
        joint, _ = self.joint_guide(noise_joint)  # (s*, D)
        raw_mu, raw_tau = cut(joint, shapes=((), ()))  # (s*,)
        tau = raw_tau.exp()  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(raw_mu[:, None], raw_tau[:, None], sigma, y)  # (s*, school)
        eta = encode_eta_loc + F.softplus(encode_eta_scale_raw) * torch.randn_like(encode_eta_loc)  # (s*, school)
        theta = raw_mu[:, None] + tau[:, None] * eta  # (s*, school)
        return {"mu": raw_mu, "tau": tau, "eta": eta, "theta": theta}

    @torch.no_grad()
    def shared_draws(self, samples: int) -> dict[str, Tensor]:
        """Draws of what all rows share, mu (s*); tau (s*), and of each draw log p and log q (s*)."""
        noise_joint = self.one.new_empty(samples, 2).normal_()  # (s*, D)
        joint, log_q = self.joint_guide(noise_joint)  # (s*, D), (s*,)
        raw_mu, raw_tau = cut(joint, shapes=((), ()))  # (s*,)
        tau = raw_tau.exp()  # (s*,)
        log_p_tau = half_cauchy_log_prob(tau, self.one * 5.0)  # (s*,)
        log_p_mu = normal_log_prob(raw_mu, self.one * 0.0, self.one * 5.0)  # (s*,)
        log_q_joint = log_q - raw_tau  # (s*,)
        return {"mu": raw_mu, "tau": tau, "(log_p)": log_p_mu + log_p_tau, "(log_q)": log_q_joint}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of eta: log p − log q (samples, school) at draws from the guide, and the draws, samples first."""
        noise_joint = self.one.new_empty(samples, 2).normal_()  # (s*, D)
        joint, _ = self.joint_guide(noise_joint)  # (s*, D)
        raw_mu, raw_tau = cut(joint, shapes=((), ()))  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(raw_mu[:, None], raw_tau[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        log_p_eta = normal_log_prob(eta, self.one * 0.0, self.one * 1.0)  # (s*, school)
        log_q_eta = normal_log_prob(eta, encode_eta_loc, encode_eta_scale)  # (s*, school)
        return {"eta": (log_p_eta - log_q_eta, eta)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of eta; drawn latents are read at their locations."""
        value = self.one.new_zeros(2)  # (D,)
        joint, _ = self.joint_guide(value)  # (D,)
        raw_mu, _ = cut(joint, shapes=((), ()))
        value_2 = self.one.new_zeros(2)  # (D,)
        joint_2, _ = self.joint_guide(value_2)  # (D,)
        _, raw_tau = cut(joint_2, shapes=((), ()))
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(raw_mu, raw_tau, sigma, y)  # (school,)
        return {"eta": {"loc": encode_eta_loc, "scale": F.softplus(encode_eta_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        eta: real, (school).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Standardise by it."""
        learn_scales(self, batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        mu, tau, _ = self.shared()
        mu_ = mu[0]
        tau_ = tau[0]
        sigma = batch["sigma"]  # (school,)
        eta = self.one.new_empty(n).normal_()  # (school,)
        total = mu_ + tau_ * eta  # (school,)
        y = decide(torch.distributions.Normal(loc=total, scale=sigma).expand((n,)), rule, False)  # (school,)
        return {"mu": mu_, "tau": tau_, "sigma": sigma, "eta": eta, "y": y}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds sigma.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["sigma"]), {"y": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
