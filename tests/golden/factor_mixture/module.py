"""FactorMixture: emitted by vispec from factor_mixture.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_d = product over d of log_x
    sum_c = log-sum-exp over c of log_c, evidence_z, log_x_over_d

    c  summed; discrete; independent in each element of its plates
    z  integrated; jointly Gaussian given the rest
    x  scored where seen; nothing depends on it: scored where it is seen
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
# sums.gaussian: Eliminated
# sums.gaussian: Gram
# sums.gaussian: eliminate
# sums.gaussian: gram
# sums.gaussian: inverse_factor
# sums.gaussian: moments
# sums.gaussian: with_prior
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# told.decide: decide
# told.moments: moments_over_sums
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


class FactorMixture(nn.Module):
    """Batch: x (n, d) real; x_observed (n, d) bool."""

    exact = True
    estimator = "exact"
    sums = ("sum_c = log-sum-exp over c of log_c, evidence_z, tilt_c, log_x_over_d",)

    def __init__(self, D: int, K: int = 3, Z: int = 1):
        super().__init__()
        self.K = K
        self.D = D
        self.Z = Z
        self.raw_pi = nn.Parameter(torch.zeros(K))  # (K)
        self.loading = nn.Parameter(torch.randn(K, D, Z))  # (k, d, Z)
        self.mean = nn.Parameter(torch.randn(K, D))  # (k, d)
        self.raw_noise = nn.Parameter(torch.randn(K, D) * 0.1)  # (k, d)
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
    def noise(self) -> Tensor:
        """positive, one for each element of k, d."""
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
        """log p of each row (n,), exact, in nats."""
        x_observed = batch["x_observed"]  # (n, d)
        any_n = x_observed.any(0)  # (d,)
        noise = F.softplus(self.raw_noise)  # (c, d)
        noise_2 = torch.where(any_n, noise, 1.0)  # (c, d)
        ratio = -self.loading / noise_2[:, :, None]  # (c, d, Z)
        ratio_2 = torch.where(x_observed[:, None, :, None], ratio, 0.0)  # (n, c, d, Z)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        ratio_3 = (x_2[:, None] - self.mean) / noise_2  # (n, c, d)
        ratio_4 = torch.where(x_observed[:, None], ratio_3, 0.0)  # (n, c, d)
        joined = torch.cat([ratio_2, ratio_4.unsqueeze(-1)], -1)  # (n, c, d, e)
        gram_ = gram(joined.double())  # (n, c, e, e')
        eliminate_, eliminate_2 = eliminate(gram_, size=self.Z)  # (n, c, 1, 1'), (n, c)
        eliminate_at = eliminate_[:, :, 0, 0]  # (n, c)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (n, c)
        difference = -log_of(noise) - 0.9189385332046727  # (c, d)
        log_x = torch.where(x_observed[:, None], difference, 0.0)  # (n, c, d)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total = log_pi + narrow + log_x.sum(-1)  # (n, c)
        return log_sum_exp(total)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        x_observed = batch["x_observed"]  # (n, d)
        any_n = x_observed.any(0)  # (d,)
        noise = F.softplus(self.raw_noise)  # (c, d)
        noise_2 = torch.where(any_n, noise, 1.0)  # (c, d)
        ratio = -self.loading / noise_2[:, :, None]  # (c, d, Z)
        ratio_2 = torch.where(x_observed[:, None, :, None], ratio, 0.0)  # (n, c, d, Z)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        ratio_3 = (x_2[:, None] - self.mean) / noise_2  # (n, c, d)
        ratio_4 = torch.where(x_observed[:, None], ratio_3, 0.0)  # (n, c, d)
        joined = torch.cat([ratio_2, ratio_4.unsqueeze(-1)], -1)  # (n, c, d, e)
        gram_ = gram(joined.double())  # (n, c, e, e')
        eliminate_, eliminate_2 = eliminate(gram_, size=self.Z)  # (n, c, 1, 1'), (n, c)
        eliminate_at = eliminate_[:, :, 0, 0]  # (n, c)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (n, c)
        difference = -log_of(noise) - 0.9189385332046727  # (c, d)
        log_x = torch.where(x_observed[:, None], difference, 0.0)  # (n, c, d)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_ = log_pi + narrow + tilt["c"] + log_x.sum(-1)  # (n, c)
        return total(total_)  # (n,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (n, d)
        return {"c": self.one.new_zeros(x.shape[0], self.K)}, {}

    def with_moments(self, batch: dict[str, Tensor], tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` times what is integrated added: its gradient is its posterior mean and second moment."""
        x_observed = batch["x_observed"]  # (n, d)
        any_n = x_observed.any(0)  # (d,)
        noise = F.softplus(self.raw_noise)  # (c, d)
        noise_2 = torch.where(any_n, noise, 1.0)  # (c, d)
        ratio = -self.loading / noise_2[:, :, None]  # (c, d, Z)
        ratio_2 = torch.where(x_observed[:, None, :, None], ratio, 0.0)  # (n, c, d, Z)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        ratio_3 = (x_2[:, None] - self.mean) / noise_2  # (n, c, d)
        ratio_4 = torch.where(x_observed[:, None], ratio_3, 0.0)  # (n, c, d)
        joined = torch.cat([ratio_2, ratio_4.unsqueeze(-1)], -1)  # (n, c, d, e)
        gram_ = gram(joined.double())  # (n, c, e, e')
        moments_, moments_2 = moments(gram_, size=self.Z)  # (n, c, e), (n, c, e, e')
        at_Z = torch.arange(self.Z, device=self.one.device)  # (Z,)
        value = torch.where(at_Z[:, None] == at_Z, self.one * 1.0, 0.0)  # (Z, Z')
        wide_value = value.double()  # (Z, e)
        product = moments_ @ wide_value.T  # (n, c, Z)
        narrow_product = product.to(self.one.dtype)  # (n, c, Z)
        product_2 = torch.einsum("ze,ncea,za->ncz", wide_value, moments_2, wide_value)  # (n, c, Z)
        total = product_2.to(self.one.dtype) + narrow_product.square()  # (n, c, Z)
        sum_Z = (tilt["z square"][:, None] * total).sum(-1)  # (n, c)
        sum_Z_2 = (tilt["z mean"][:, None] * narrow_product).sum(-1)  # (n, c)
        eliminate_, eliminate_2 = eliminate(gram_, size=self.Z)  # (n, c, 1, 1'), (n, c)
        eliminate_at = eliminate_[:, :, 0, 0]  # (n, c)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (n, c)
        difference = -log_of(noise) - 0.9189385332046727  # (c, d)
        log_x = torch.where(x_observed[:, None], difference, 0.0)  # (n, c, d)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_2 = log_pi + sum_Z_2 + sum_Z + narrow + log_x.sum(-1)  # (n, c)
        return log_sum_exp(total_2)  # (n,)

    def no_moments(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tilts of nothing for the means and second moments of what is integrated."""
        x = batch["x"]  # (n, d)
        value = self.one.new_zeros(x.shape[0], self.Z)  # (n, Z)
        return {"z mean": value, "z square": value}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        c: index[k], (n).
        """
        found = ask(self, batch, query, *self.unknowns(batch), other=other)
        if query != "marginals":
            return found
        return found | moments_over_sums(self.with_moments, batch, self.no_moments(batch))

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Clusters stand in for latents."""
        x_observed = batch["x_observed"]  # (n, d)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        x_3 = torch.where(x_observed, x_2, torch.nan)  # (n, d)
        c = clusters(self.K, [x_3])  # (n,)
        at_d = torch.arange(self.D, device=self.one.device)  # (d,)
        mean, noise = by_group_among(
            normal_start, x_2, 2, (c[:, None], at_d), (self.mean, self.noise), inside=x_observed
        )  # (k, d)
        pi = by_group(categorical_start, c, (), (self.pi,), self.K)[0]  # (K,)
        self.mean[...] = mean
        self.noise = noise
        self.pi = pi

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        c = torch.distributions.Categorical(logits=self.raw_pi).expand((n,)).sample()  # (n,)
        z = self.one.new_empty(n, self.Z).normal_()  # (n, Z)
        loading_at = self.loading[c]  # (n, d, Z)
        product = torch.einsum("ndz,nz->nd", loading_at, z)  # (n, d)
        mean_at = self.mean[c]  # (n, d)
        total = product + mean_at  # (n, d)
        noise = F.softplus(self.raw_noise)  # (k, d)
        noise_at = noise[c]  # (n, d)
        x = decide(torch.distributions.Normal(loc=total, scale=noise_at).expand((n, self.D)), rule, False)  # (n, d)
        return {"c": c, "z": z, "x": x, "x_observed": torch.tensor(True, device=self.one.device).expand(n, self.D)}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    def predictive(self, batch: dict[str, Tensor], total, of, tilt: dict[str, Tensor], values: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` times what `of` tells of each missing number's law added, and `total` for sums."""
        x_observed = batch["x_observed"]  # (n, d)
        any_n = x_observed.any(0)  # (d,)
        noise = F.softplus(self.raw_noise)  # (c, d)
        noise_2 = torch.where(any_n, noise, 1.0)  # (c, d)
        ratio = -self.loading / noise_2[:, :, None]  # (c, d, Z)
        ratio_2 = torch.where(x_observed[:, None, :, None], ratio, 0.0)  # (n, c, d, Z)
        x = batch["x"]  # (n, d)
        x_2 = torch.where(x_observed, x, 0.0)  # (n, d)
        ratio_3 = (x_2[:, None] - self.mean) / noise_2  # (n, c, d)
        ratio_4 = torch.where(x_observed[:, None], ratio_3, 0.0)  # (n, c, d)
        joined = torch.cat([ratio_2, ratio_4.unsqueeze(-1)], -1)  # (n, c, d, e)
        gram_ = gram(joined.double())  # (n, c, e, e')
        moments_, moments_2 = moments(gram_, size=self.Z)  # (n, c, e), (n, c, e, e')
        loading = self.loading  # (c, d, Z)
        wide_loading = loading.double()  # (c, d, e)
        product = torch.einsum("cde,ncea,cda->ncd", wide_loading, moments_2, wide_loading)  # (n, c, d)
        total_ = product.to(self.one.dtype) + noise.square()  # (n, c, d)
        sqrt_total = total_.sqrt()  # (n, c, d)
        product_2 = wide_loading @ moments_.movedim(0, -1)  # (c, d, n)
        total_2 = self.mean[:, :, None] + product_2.to(self.one.dtype)  # (c, d, n)
        normal = normal_log_cdf(values["x"].T, total_2, sqrt_total.movedim(0, -1))  # (c, d, n)
        normal_2 = normal.exp()  # (c, d, n)
        log_x_2 = normal_log_prob(values["x"].T, total_2, sqrt_total.movedim(0, -1))  # (c, d, n)
        Normal = of(
            torch.distributions.Normal(
                loc=total_2, scale=sqrt_total.movedim(0, -1)
            ).expand((self.K, self.D, x_observed.shape[0])),
            log_x_2,
            normal_2,
        )  # (c, d, n)
        sum_d = (tilt["x"].T * Normal).sum(1)  # (c, n)
        eliminate_, eliminate_2 = eliminate(gram_, size=self.Z)  # (n, c, 1, 1'), (n, c)
        eliminate_at = eliminate_[:, :, 0, 0]  # (n, c)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (n, c)
        difference = -log_of(noise) - 0.9189385332046727  # (c, d)
        log_x = torch.where(x_observed[:, None], difference, 0.0)  # (n, c, d)
        log_pi = self.raw_pi.log_softmax(-1)  # (K,)
        total_3 = log_pi + narrow + log_x.sum(-1) + sum_d.T  # (n, c)
        return total(total_3)  # (n,)

    def tilts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for each missing number and label."""
        x = batch["x"]  # (n, d)
        return {"x": self.one.new_zeros(x.shape[0], self.D)}

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 1000) -> dict[str, Tensor]:
        """Each partial variable, from all that is seen; cells that are seen are as they are seen.

        rule: "mean", of labels the probabilities of their values; "mode", the likeliest value; "median";
        "quantiles(.05, .95)", last in order; "probs", of counts those of 0, 1, ...; "sample", a draw of all together;
        "sample(5)", five of them, last in order.
        samples: draws of latents that are not summed, or of laws that only draw.
        """
        return filled(self, batch, rule, {"x": "number"}, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
