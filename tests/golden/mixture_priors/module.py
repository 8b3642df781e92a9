"""MixturePriors: emitted by vispec from mixture_priors.vispec; imports torch and nothing else.

    log_prob: exact

    sum_c = log-sum-exp over c of log_c, log_x

    share  map(); a point estimate
    mu     map(); a point estimate
    sigma  map(); a point estimate
    c      summed; discrete; independent in each element of its plates
    x      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# probability: LogOfProbability
# probability: log_of
# starts: by_group
# starts: clusters
# starts: k_means
# starts: kept
# starts: nearest
# starts: standardised
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# told.decide: decide
# told.decide: predictive
# told.queries: Attached
# told.queries: Entropic
# told.queries: Summed
# told.queries: answer
# told.queries: ask
# told.queries: divergence
# told.queries: k_best
# told.queries: logs_of
# told.queries: mean_where
# told.queries: ranked
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


def half_normal_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 N(value; 0, scale²), elementwise; -inf below 0."""
    density = -0.5 * (value / scale).square() - scale.log() - 0.22579135264472744  # log(π / 2) / 2
    return torch.where(value >= 0, density, -torch.inf)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class MixturePriors(nn.Module):
    """Batch: x (n) real."""

    exact = True
    estimator = "exact"
    sums = ("sum_c = log-sum-exp over c of log_c, log_x, tilt_c",)

    def __init__(self):
        super().__init__()
        self.raw_share_point = nn.Parameter(torch.zeros(2))  # (2)
        self.mu_point = nn.Parameter(torch.randn(2))  # (k)
        self.raw_sigma_point = nn.Parameter(torch.randn(2) * 0.1)  # (k)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def share_point(self) -> Tensor:
        """simplex[2]."""
        return self.raw_share_point.softmax(-1)

    @share_point.setter
    def share_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_share_point.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def sigma_point(self) -> Tensor:
        """positive, one for each element of k."""
        return F.softplus(self.raw_sigma_point)

    @sigma_point.setter
    def sigma_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_sigma_point.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        share, mu, sigma, _ = self.shared() if shared is None else shared
        x = batch["x"]  # (n,)
        log_x = normal_log_prob(x[:, None], mu, sigma)  # (n, c)
        log_c = log_of(share)  # (c,)
        return log_sum_exp(log_c + log_x)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """share (2); mu (k); sigma (k); log p − log q of all that rows share."""
        share_point = self.raw_share_point.softmax(-1)  # (2,)
        sigma_point = F.softplus(self.raw_sigma_point)  # (k,)
        log_p_sigma = half_normal_log_prob(sigma_point, self.one * 2.0)  # (k,)
        log_p_share = dirichlet_log_prob(share_point, (self.one * 5).expand(2))
        log_p_mu_over_k = normal_vector_log_prob(self.mu_point, self.one * 0.0, self.one * 2.0)
        log_ratio = log_p_share + log_p_mu_over_k + log_p_sigma.sum(-1)
        return share_point, self.mu_point, sigma_point, log_ratio

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        share, mu, sigma, _ = self.shared()
        x = batch["x"]  # (n,)
        log_x = normal_log_prob(x[:, None], mu, sigma)  # (n, c)
        log_c = log_of(share)  # (c,)
        log_joint = log_c + log_x + tilt["c"]  # (n, c)
        return total(log_joint)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n,)
        return {"c": self.one.new_zeros(x.shape[0], 2)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        c: index[k], (n).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        x = batch["x"]  # (n,)
        c = clusters(2, [x])  # (n,)
        mu_point, sigma_point = by_group(normal_start, x, (c,), (self.mu_point, self.sigma_point))  # (k,)
        share_point = by_group(categorical_start, c, (), (self.share_point,), 2)[0]  # (2,)
        self.mu_point[...] = mu_point
        self.sigma_point = sigma_point
        self.share_point = share_point

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        share, mu, sigma, _ = self.shared()
        c = torch.distributions.Categorical(probs=share).expand((n,)).sample()  # (n,)
        mu_at = pick_last(mu, c)  # (n,)
        sigma_at = pick_last(sigma, c)  # (n,)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sigma_at).expand((n,)), rule, False)  # (n,)
        return {"share": share, "mu": mu, "sigma": sigma, "c": c, "x": x}

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
