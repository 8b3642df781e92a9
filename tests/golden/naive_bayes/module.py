"""NaiveBayes: emitted by vispec from naive_bayes.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_d = product over d of log_x
    sum_y = log-sum-exp over y of log_y, seen_y, log_x_over_d

    y  summed; discrete; independent in each element of its plates
    x  scored where seen; nothing depends on it: scored where it is seen
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# starts: by_group
# starts: by_group_among
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
# sums.lookup: columns
# told.decide: decide
# told.predict: Predictive
# told.predict: between
# told.predict: chosen
# told.predict: filled
# told.predict: narrowed
# told.predict: several
# told.predict: ulp
# told.predict: with_seen
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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def normal_log_cdf(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log Φ((value - loc) / scale), elementwise."""
    return torch.special.log_ndtr((value.double() - loc.double()) / scale.double()).to(value.dtype)


class NaiveBayes(nn.Module):
    """Batch: y (n) category[K]; y_observed (n) bool; x (n, d) real; x_observed (n, d) bool."""

    exact = True
    estimator = "exact"
    sums = ("sum_y = log-sum-exp over y of log_y, seen_y, tilt_y, log_x_over_d",)

    def __init__(self, D: int, K: int = 3):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.mu = nn.Parameter(torch.randn(D, K))  # (d, k)
        self.raw_sigma = nn.Parameter(torch.randn(D, K) * 0.1)  # (d, k)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def pi(self) -> Tensor:
        """simplex[K]."""
        return self.raw_pi.softmax(-1)

    @pi.setter
    def pi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_pi.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def sigma(self) -> Tensor:
        """positive, one for each element of d, k."""
        return F.softplus(self.raw_sigma)

    @sigma.setter
    def sigma(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_sigma.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        x_observed = batch["x_observed"]  # (n, d)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        sigma = F.softplus(self.raw_sigma)  # (d, y)
        log_x_2 = normal_log_prob(x_2[:, :, None], self.mu, sigma)  # (n, d, y)
        log_x = torch.where(x_observed[:, :, None], log_x_2, 0.0)  # (n, d, y)
        y = batch["y"]  # (n,)
        test = torch.arange(self.K, device=self.one.device) != y[:, None]  # (n, y)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total = log_pi + seen_y + log_x.sum(1)  # (n, y)
        return log_sum_exp(total)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        x_observed = batch["x_observed"]  # (n, d)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        sigma = F.softplus(self.raw_sigma)  # (d, y)
        log_x_2 = normal_log_prob(x_2[:, :, None], self.mu, sigma)  # (n, d, y)
        log_x = torch.where(x_observed[:, :, None], log_x_2, 0.0)  # (n, d, y)
        y = batch["y"]  # (n,)
        test = torch.arange(self.K, device=self.one.device) != y[:, None]  # (n, y)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_ = log_pi + seen_y + tilt["y"] + log_x.sum(1)  # (n, y)
        return total(total_)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        y = batch["y"]  # (n,)
        return {"y": self.one.new_zeros(y.shape[0], self.K)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        y: category[K], (n).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        x_observed = batch["x_observed"]  # (n, d)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        x_3 = torch.where(x_observed, x_2, torch.nan)  # (n, d)
        y_observed = batch["y_observed"]  # (n,)
        y = batch["y"]  # (n,)
        y_3 = torch.where(y_observed, y, -1)  # (n,)
        y_2 = clusters(self.K, [x_3], known=y_3)  # (n,)
        pi = by_group(categorical_start, y_2, (), (self.pi,), self.K)[0]  # (K,)
        at_d = torch.arange(self.D, device=self.one.device)  # (d,)
        mu, sigma = by_group_among(
            normal_start, x_2, 2, (at_d, y_2[:, None]), (self.mu, self.sigma), inside=x_observed
        )  # (d, k)
        self.pi = pi
        self.mu[...] = mu
        self.sigma = sigma

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = decide(torch.distributions.Categorical(logits=self.raw_pi).expand((n,)), rule, True)  # (n,)
        mu_at = columns(self.mu, y)  # (n, d)
        sigma = F.softplus(self.raw_sigma)  # (d, k)
        sigma_at = columns(sigma, y)  # (n, d)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sigma_at).expand((n, self.D)), rule, False)  # (n, d)
        return {
            "y": y,
            "x": x,
            "y_observed": torch.tensor(True, device=self.one.device).expand(n),
            "x_observed": torch.tensor(True, device=self.one.device).expand(n, self.D),
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    def predictive(self, batch: dict[str, Tensor], total, of, tilt: dict[str, Tensor], values: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` times what `of` tells of each missing number's law added, and `total` for sums."""
        sigma = F.softplus(self.raw_sigma)  # (d, y)
        normal = normal_log_cdf(values["x"][:, :, None], self.mu, sigma)  # (n, d, y)
        normal_2 = normal.exp()  # (n, d, y)
        log_x_2 = normal_log_prob(values["x"][:, :, None], self.mu, sigma)  # (n, d, y)
        y_observed = batch["y_observed"]  # (n,)
        told_x = of(
            torch.distributions.Normal(loc=self.mu, scale=sigma).expand((y_observed.shape[0], self.D, self.K)),
            log_x_2,
            normal_2,
        )  # (n, d, y)
        x_observed = batch["x_observed"]  # (n, d)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        log_x_3 = normal_log_prob(x_2[:, :, None], self.mu, sigma)  # (n, d, y)
        log_x = torch.where(x_observed[:, :, None], log_x_3, 0.0)  # (n, d, y)
        y = batch["y"]  # (n,)
        test = torch.arange(self.K, device=self.one.device) != y[:, None]  # (n, y)
        seen_y = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_ = log_pi + seen_y + tilt["y"] + log_x.sum(1) + (tilt["x"][:, :, None] * told_x).sum(1)  # (n, y)
        return total(total_)  # (n,)

    def tilts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for each missing number and label."""
        y = batch["y"]  # (n,)
        value = self.one.new_zeros(y.shape[0], self.D)  # (n, d)
        value_2 = self.one.new_zeros(y.shape[0], self.K)  # (n, y)
        return {"x": value, "y": value_2}

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 1000) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen; cells that are seen are as they are seen.

        rule: "mean", of labels the probabilities of their values; "mode", the likeliest value; "median";
        "quantiles(.05, .95)", last in order; "probs", of counts those of 0, 1, ...; "sample", a draw of all together;
        "sample(5)", five of them, last in order.
        samples: draws of latents that are not summed, or of laws that only draw.
        """
        return filled(self, batch, rule, {"y": "finite", "x": "number"}, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
