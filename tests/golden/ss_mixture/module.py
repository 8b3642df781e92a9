"""SsMixture: emitted by vispec from ss_mixture.vispec; imports torch and nothing else.

    log_prob: exact

    sum_y = log-sum-exp over y of log_y, seen_y, log_x

    y  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
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
# sums.mixture: NormalNatural
# sums.mixture: normal_natural
# told.decide: decide
# told.predict: labelled
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


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class SsMixture(nn.Module):
    """Batch: y (n) category[K]; y_observed (n) bool; x (n, D) real[D]."""

    exact = True
    estimator = "exact"
    sums = ("sum_y = log-sum-exp over y of log_y, seen_y, log_x, tilt_y",)

    def __init__(self, D: int, K: int = 3):
        super().__init__()
        self.K = K
        self.D = D
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.mu = nn.Parameter(torch.randn(K, D))  # (k, D)
        self.raw_sigma = nn.Parameter(torch.randn(K, D) * 0.1)  # (k, D)
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
        """positive[D], one for each element of k."""
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
        y = batch["y"]  # (n,)
        test = torch.arange(self.K, device=self.one.device) != y[:, None]  # (n, y)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        x = batch["x"]  # (n, D)
        sigma = F.softplus(self.raw_sigma)  # (y, D)
        x_const, x_weight, x_statistics = normal_natural(x, self.mu, sigma)  # (y,), (y, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total = F.linear(x_statistics, x_weight, log_pi + x_const) + seen_y  # (n, y)
        return log_sum_exp(total)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        y = batch["y"]  # (n,)
        test = torch.arange(self.K, device=self.one.device) != y[:, None]  # (n, y)
        y_observed = batch["y_observed"]  # (n,)
        seen_y = torch.where(y_observed[:, None] & test, self.one * -torch.inf, 0.0)  # (n, y)
        x = batch["x"]  # (n, D)
        sigma = F.softplus(self.raw_sigma)  # (y, D)
        x_const, x_weight, x_statistics = normal_natural(x, self.mu, sigma)  # (y,), (y, T), (n, T)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_ = F.linear(x_statistics, x_weight, log_pi + x_const) + seen_y + tilt["y"]  # (n, y)
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
        y_observed = batch["y_observed"]  # (n,)
        y = batch["y"]  # (n,)
        y_3 = torch.where(y_observed, y, -1)  # (n,)
        x = batch["x"]  # (n, D)
        y_2 = clusters(self.K, [x], known=y_3)  # (n,)
        pi = by_group(categorical_start, y_2, (), (self.pi,), self.K)[0]  # (K,)
        mu, sigma = by_group(normal_start, x, (y_2,), (self.mu, self.sigma))  # (k, D)
        self.pi = pi
        self.mu[...] = mu
        self.sigma = sigma

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        y = decide(torch.distributions.Categorical(logits=self.raw_pi).expand((n,)), rule, True)  # (n,)
        mu_at = self.mu[y]  # (n, D)
        sigma = F.softplus(self.raw_sigma)  # (k, D)
        sigma_at = sigma[y]  # (n, D)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sigma_at).expand((n, self.D)), rule, False)  # (n, D)
        return {"y": y, "x": x, "y_observed": torch.tensor(True, device=self.one.device).expand(n)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen: its posterior. rule: "mean", the probabilities of its values;
        "mode", the likeliest of each; "joint", the best of all together; "sample", a draw; "sample(5)", five, last in
        order. Cells that are seen are as they are seen. samples: for models without such variables.
        """
        return labelled(self.posterior, batch, rule, ("y",))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
