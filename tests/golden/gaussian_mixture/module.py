"""GaussianMixture: emitted by vispec from gaussian_mixture.vispec; imports torch and nothing else.

    log_prob: exact

    sum_c = log-sum-exp over c of log_c, log_x

    c  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: from_cholesky
# constraints: in_domain
# constraints: softplus_inverse
# constraints: to_cholesky
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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def multivariate_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale_tril: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, L Lᵀ) (*B) for value and loc (*B, D) and lower-triangular L = scale_tril (*B, D, D)."""
    while scale_tril.dim() > 2 and len(scale_tril) == 1:
        scale_tril = scale_tril.squeeze(0)
    error = value - loc
    error = error.expand(torch.broadcast_shapes(error.shape, scale_tril.shape[:-1]))  # (*N, *S, D) against L (*S, D, D)
    own = error.dim() - scale_tril.dim() + 1  # axes N, over which L does not vary: columns of one solve, not copies of L
    columns = error.reshape(-1, *error.shape[own:]).movedim(0, -1)  # (*S, D, N)
    white = torch.linalg.solve_triangular(scale_tril, columns, upper=False)
    distance = white.square().sum(-2).movedim(-1, 0).reshape(error.shape[:-1])  # (*N, *S)
    log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (*S)
    return -0.5 * distance - log_det - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def multivariate_normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (D) and the Cholesky factor of the covariance of elements (N, D), the correlations shrunk by N / (N + D), so that it
    has full rank; nan where an entry is the same in all."""
    n, d = value.shape
    error = value - value[:1]
    covariance = torch.atleast_2d(torch.cov(error.mT, correction=0))
    scale = covariance.diagonal().sqrt().masked_fill((error == 0).all(0), torch.nan)
    correlation = covariance / scale / scale[:, None] * (n / (n + d))
    factor, failed = torch.linalg.cholesky_ex(correlation - correlation.diagonal().diag() + torch.eye(d).to(correlation))
    return value.mean(0), (scale[:, None] * factor).masked_fill(failed > 0, torch.nan)


class GaussianMixture(nn.Module):
    """Batch: x (n, D) real[D]."""

    exact = True
    estimator = "exact"
    sums = ("sum_c = log-sum-exp over c of log_c, log_x, tilt_c",)

    def __init__(self, D: int, K: int = 2):
        super().__init__()
        self.K = K
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.mu = nn.Parameter(torch.randn(K, D))  # (k, D)
        self.raw_L = nn.Parameter(torch.randn(K, D, D) * 0.1)  # (k, D, D)
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
    def L(self) -> Tensor:
        """cholesky[D], one for each element of k."""
        return to_cholesky(self.raw_L)

    @L.setter
    def L(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = from_cholesky(value)
            self.raw_L.copy_(in_domain(raw, to_cholesky(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (n,), exact, in nats."""
        x = batch["x"]  # (n, D)
        L = to_cholesky(self.raw_L)  # (c, D', D)
        log_x = multivariate_normal_log_prob(x[:, None], self.mu, L)  # (n, c)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        return log_sum_exp(log_pi + log_x)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        x = batch["x"]  # (n, D)
        L = to_cholesky(self.raw_L)  # (c, D', D)
        log_x = multivariate_normal_log_prob(x[:, None], self.mu, L)  # (n, c)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        log_joint = log_pi + log_x + tilt["c"]  # (n, c)
        return total(log_joint)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n, D)
        return {"c": self.one.new_zeros(x.shape[0], self.K)}, {}

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
        x = batch["x"]  # (n, D)
        c = clusters(self.K, [x])  # (n,)
        mu, L = by_group(multivariate_normal_start, x, (c,), (self.mu, self.L))  # (k, D), (k, D', D)
        pi = by_group(categorical_start, c, (), (self.pi,), self.K)[0]  # (K,)
        self.mu[...] = mu
        self.L = L
        self.pi = pi

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        c = torch.distributions.Categorical(logits=self.raw_pi).expand((n,)).sample()  # (n,)
        mu_at = self.mu[c]  # (n, D)
        L = to_cholesky(self.raw_L)  # (k, D', D)
        L_at = L[c]  # (n, D', D)
        x = decide(torch.distributions.MultivariateNormal(loc=mu_at, scale_tril=L_at).expand((n,)), rule, False)  # (n, D)
        return {"c": c, "x": x}

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
