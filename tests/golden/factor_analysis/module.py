"""FactorAnalysis: emitted by vispec from factor_analysis.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_x_over_d = Σ_{d} log_x
    log p = ratio_z + log_x_over_d

    z  elbo(samples=1); continuous; guide MultivariateNormal
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


def to_cholesky(raw: Tensor) -> Tensor:
    """Lower-triangular (*B, D, D) with a positive diagonal: softplus of the raw one."""
    return raw.tril(-1) + F.softplus(raw.diagonal(dim1=-2, dim2=-1)).diag_embed()


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def by_group(start, value: Tensor, at: tuple, now: tuple, *told: Tensor | int, among: Tensor | None = None) -> list[Tensor]:
    """The parameters of a law, each (*G, *event), that `start` finds in the elements (N, *event) of each group.

    at: for each dimension of G where in it an element belongs, (N,) or one for all. now: what the parameters are, None for
    those not asked for; there stays what the elements do not tell. told: what else start reads, (N, ...) or one for all.
    among (N,): which elements the groups have, all without it.

    A group's parameters are drawn towards those of all elements as by one element of these, so that a group of few has no
    extreme ones; a group of none has those of all."""
    if not len(value):
        return [old for old in now if old is not None]
    whole = start(value, *told)
    sizes = next(each.shape[: len(at)] for each in now if each is not None)
    found = [each.expand(sizes.numel(), *each.shape).clone() for each in whole]
    key = torch.zeros(len(value), dtype=torch.long, device=value.device)
    for size, index in zip(sizes, at, strict=True):
        key = key * size + index
    if among is not None:
        key = torch.where(among, key, -1)
    order = key.argsort()
    groups, counts = key[order].unique_consecutive(return_counts=True)
    for group, rows in zip(groups.tolist(), order.split(counts.tolist()), strict=True):
        if group < 0 or len(rows) == len(value):
            continue
        own = start(value[rows], *(each[rows] if isinstance(each, Tensor) and each.dim() else each for each in told))
        for table, mine, all_ in zip(found, own, whole, strict=True):
            both = (len(rows) * mine + all_) / (len(rows) + 1)
            table[group] = torch.where(both.isfinite(), both, torch.where(mine.isfinite(), mine, all_))
    return [kept(each.reshape(sizes + each.shape[1:]), old) for each, old in zip(found, now, strict=True) if old is not None]


def kept(found: Tensor, old: Tensor) -> Tensor:
    """What was found in the shape of the old, the mean where one number stands for several; the old where it is not finite."""
    while found.dim() > old.dim():
        found = found.nanmean(-1)
    return torch.where(found.isfinite(), found, old)


def standard_normal_vector_log_prob(value: Tensor) -> Tensor:
    """Σ_d log N(value_d; 0, 1): (*B, D) → (*B)."""
    return value.square().sum(-1) * -0.5 - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


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
            self.raw_noise.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=1)."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z, Z)
        z = torch.distributions.MultivariateNormal(loc=factors_loc, scale_tril=factors_scale_tril).rsample()  # (n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (n,)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (n,)
        log_ratio_z = log_p_z - log_q_z  # (n,)
        dot = F.linear(z, self.loading)  # (n, d)
        value = dot + self.mean  # (n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        log_x = normal_log_prob(x, value, noise)  # (n, d)
        log_x_over_d = log_x.sum(1)  # (n,)
        return log_ratio_z + log_x_over_d  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z, Z)
        z = torch.distributions.MultivariateNormal(loc=factors_loc, scale_tril=factors_scale_tril).expand((samples, x.shape[0],)).rsample()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        dot = F.linear(z, self.loading)  # (s*, n, d)
        value = dot + self.mean  # (s*, n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        log_x = normal_log_prob(x, value, noise)  # (s*, n, d)
        log_x_over_d = log_x.sum(2)  # (s*, n)
        log_prob = log_ratio_z + log_x_over_d  # (s*, n)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        z: real[Z], (n).
        """
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z, Z)
        return {"z": {"loc": factors_loc, "scale_tril": factors_scale_tril}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, d)
        factors_loc, factors_scale_tril_raw = self.factors(x)  # (n, Z)
        factors_scale_tril = to_cholesky(factors_scale_tril_raw)  # (n, Z, Z)
        z = torch.distributions.MultivariateNormal(loc=factors_loc, scale_tril=factors_scale_tril).expand((samples, x.shape[0],)).rsample()  # (s*, n, Z)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_q_z = multivariate_normal_log_prob(z, factors_loc, factors_scale_tril)  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        return {"z": (log_ratio_z, z)}

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        x = batch["x"]  # (n, d)
        n_, d = torch.ones(x.shape[0], self.D, dtype=torch.bool, device=self.one.device).nonzero(as_tuple=True)
        self.mean[...], self.noise = by_group(normal_start, x[n_, d], (d,), (self.mean, self.noise))

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n, self.Z,)), "sample", True)  # (n, Z)
        dot = F.linear(z, self.loading)  # (n, d)
        value = dot + self.mean  # (n, d)
        noise = F.softplus(self.raw_noise)  # (d,)
        x = decide(torch.distributions.Normal(loc=value, scale=noise).expand((n, self.D,)), rule, False)  # (n, d)
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
