"""FactorAnalysis: emitted by vispec from factor_analysis.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_x_over_d = product over d of log_x
    total = product of ratio_z, log_x_over_d

    z  elbo(samples=1); continuous; guide MultivariateNormal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# constraints: in_domain
# constraints: softplus_inverse
# constraints: to_cholesky
# heap: keep_pages
# starts: by_group
# starts: by_group_among
# starts: kept
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


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


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class Factors(nn.Module):
    """(x: real[D]) → (loc: real[Z], scale_tril: cholesky[Z]): mlp([32])."""

    def __init__(self, D: int, Z: int):
        super().__init__()
        self.Z = Z
        self.mlp = nn.Sequential(nn.Linear(D, 32), nn.ReLU())
        self.out = nn.Linear(32, Z + Z * Z)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, D) → (*B, 32)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale_tril (*B, Z, Z) before its link."""
        loc, scale_tril = self.out(self.features(x)).split((self.Z, self.Z * self.Z), -1)
        return loc, scale_tril.unflatten(-1, (self.Z, self.Z))


class FactorAnalysis(nn.Module):
    """Batch: x (n, d) real."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, D: int, Z: int = 2):
        super().__init__()
        self.D = D
        self.Z = Z
        self.loading = nn.Parameter(torch.randn(D, Z))  # (d, Z)
        self.mean = nn.Parameter(torch.randn(D))  # (d)
        self.raw_noise = nn.Parameter(torch.randn(D) * 0.1)  # (d)
        self.factors = Factors(D, Z)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def noise(self) -> Tensor:
        """positive, one for each element of d."""
        return F.softplus(self.raw_noise)

    @noise.setter
    def noise(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_noise.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z), (n, Z', Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z', Z)
        z = torch.distributions.MultivariateNormal(loc=factors_loc, scale_tril=factors_scale_tril).rsample()  # (n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (n,)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (n,)
        total = F.linear(z, self.loading, self.mean)  # (n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        log_x_over_d = normal_vector_log_prob(x, total, noise)  # (n,)
        return log_p_z - log_q_z + log_x_over_d  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z), (n, Z', Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z', Z)
        z = torch.distributions.MultivariateNormal(
            loc=factors_loc, scale_tril=factors_scale_tril
        ).expand((samples, x.shape[0])).rsample()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (s*, n)
        total = F.linear(z, self.loading, self.mean)  # (s*, n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        log_x_over_d = normal_vector_log_prob(x, total, noise)  # (s*, n)
        return log_p_z - log_q_z + log_x_over_d  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z), (n, Z', Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z', Z)
        z = torch.distributions.MultivariateNormal(
            loc=factors_loc, scale_tril=factors_scale_tril
        ).expand((samples, x.shape[0])).rsample()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (s*, n)
        return {"z": (log_p_z - log_q_z, z)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of z; drawn latents are read at their locations."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z), (n, Z', Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z', Z)
        return {"z": {"loc": factors_loc, "scale_tril": factors_scale_tril}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        z: real[Z], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        x = batch["x"]  # (n, d)
        at_d = torch.arange(self.D, device=self.one.device)  # (d,)
        mean, noise = by_group_among(normal_start, x, 2, (at_d,), (self.mean, self.noise))  # (d,)
        self.mean[...] = mean
        self.noise = noise

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = self.one.new_empty(n, self.Z).normal_()  # (n, Z)
        total = F.linear(z, self.loading, self.mean)  # (n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        x = decide(torch.distributions.Normal(loc=total, scale=noise).expand((n, self.D)), rule, False)  # (n, d)
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
