"""Autoregression: emitted by vispec from autoregression.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_t = product over t of log_x
    total = product of evidence_x, log_x_over_t

    x  integrated; jointly Gaussian given the rest
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
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.algebra: Sampled
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
# sums.lookup: steps_back
# sums.recurrence: reach_of_steps
# told.decide: decide
# told.predict: Predictive
# told.predict: between
# told.predict: chosen
# told.predict: filled
# told.predict: narrowed
# told.predict: several
# told.predict: ulp
# told.predict: with_seen
# told.queries: answer


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


class Autoregression(nn.Module):
    """Batch: x (row, t) real; x_observed (row, t) bool; x_len (row)."""

    exact = True
    estimator = "exact"

    def __init__(self):
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(()))
        self.raw_phi = nn.Parameter(torch.zeros(()))
        self.raw_s = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def phi(self) -> Tensor:
        """unit."""
        return torch.sigmoid(self.raw_phi)

    @phi.setter
    def phi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_phi.copy_(in_domain(raw, torch.sigmoid(raw), value))

    @property
    def s(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_s)

    @s.setter
    def s(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_s.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (row,), exact, in nats."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row,)
        inside_t = at_t < x_len[:, None]  # (row, t)
        test = at_t == 0  # (t,)
        any_t = (inside_t & test).any(-1)  # (row,)
        x_observed_at = x_observed[:, 0]  # (row,)
        any_row = (~x_observed_at).any(-1)
        phi = self.raw_phi.sigmoid()
        difference = 1 - phi.square()
        difference_2 = torch.where(any_row, difference, 1.0)
        pow = torch.where(any_t, difference_2, 1.0) ** 0.5  # (row,)
        pow_2 = torch.where(any_row, pow, 1.0)  # (row,)
        s = F.softplus(self.raw_s)
        ratio = s / torch.where(any_t, pow_2, 1.0)  # (row,)
        value = torch.where(x_observed_at, 0.0, ratio)  # (row,)
        value_2 = torch.where(test, value[:, None], 0.0)  # (row, t)
        value_3 = torch.where(x_observed, 0.0, s)  # (row, t)
        total = value_2 + torch.where(test, 0.0, value_3)  # (row, t)
        value_4 = torch.where(x_observed, 0.0, phi)  # (row, t)
        value_5 = torch.where(test, 0.0, value_4)  # (row, t)
        reach = reach_of_steps(value_5)  # (row, t, t')
        product = reach * total[:, None]  # (row, t, t')
        product_before = steps_back(product, 1, dim=1, fill=0.0)  # (row, t, t')
        any_t_2 = (inside_t & (at_t != 0)).any(-1)  # (row,)
        s_2 = torch.where(any_t_2, s, 1.0)  # (row,)
        any_t_3 = (inside_t & x_observed).any(-1)  # (row,)
        s_3 = torch.where(any_t_3, s_2, 1.0)  # (row,)
        ratio_2 = (product - product_before * phi) / s_3[:, None, None]  # (row, t, t')
        value_6 = torch.where(test[:, None], 0.0, ratio_2)  # (row, t, t')
        value_7 = torch.where(x_observed[:, :, None], value_6, 0.0)  # (row, t, t')
        x = batch["x"]  # (row, t)
        x_at = x[:, 0]  # (row,)
        x_2 = torch.where(x_observed_at, x_at, 0.0)  # (row,)
        x_4 = torch.where(x_observed_at, x_2, self.mu)  # (row,)
        x_3 = torch.where(x_observed, x, 0.0)  # (row, t)
        x_5 = torch.where(x_observed, x_3, self.mu + -self.mu * phi)  # (row, t)
        x_6 = torch.where(test, x_4[:, None], x_5)  # (row, t)
        product_2 = torch.einsum("rta,ra->rt", reach, x_6)  # (row, t)
        product_before_2 = steps_back(product_2, 1, dim=1, fill=0.0)  # (row, t)
        total_2 = product_2 - (self.mu + (product_before_2 - self.mu) * phi)  # (row, t)
        value_8 = torch.where(test, 0.0, total_2 / s_3[:, None])  # (row, t)
        value_9 = torch.where(x_observed, value_8, 0.0)  # (row, t)
        joined = torch.cat([value_7, value_9.unsqueeze(-1)], -1)  # (row, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row, t, e)
        gram_ = gram(joined_2.double())  # (row, e, e')
        difference_3 = torch.where(any_t, difference, 1.0)  # (row,)
        difference_4 = torch.where(any_t_3, difference_3, 1.0)  # (row,)
        value_10 = torch.where(any_t, difference_4 ** 0.5, 1.0)  # (row,)
        ratio_3 = s / torch.where(any_t_3, value_10, 1.0)  # (row,)
        ratio_4 = torch.where(any_t, ratio_3, 1.0)  # (row,)
        ratio_5 = torch.where(any_t_3, ratio_4, 1.0)  # (row,)
        ratio_6 = product / ratio_5[:, None, None]  # (row, t, t')
        ratio_7 = torch.where(test[:, None], ratio_6, 0.0)  # (row, t, t')
        ratio_8 = torch.where(x_observed[:, :, None], ratio_7, 0.0)  # (row, t, t')
        ratio_9 = (product_2 - self.mu) / ratio_5[:, None]  # (row, t)
        ratio_10 = torch.where(test, ratio_9, 0.0)  # (row, t)
        ratio_11 = torch.where(x_observed, ratio_10, 0.0)  # (row, t)
        joined_3 = torch.cat([ratio_8, ratio_11.unsqueeze(-1)], -1)  # (row, t, e)
        joined_4 = torch.where(inside_t[:, :, None], joined_3, 0.0)  # (row, t, e)
        gram_2 = gram(joined_4.double())  # (row, e, e')
        eliminate_, eliminate_2 = eliminate(gram_2 + gram_, size=x_observed.shape[1])  # (row, 1, 1'), (row,)
        eliminate_at = eliminate_[:, 0, 0]  # (row,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (row,)
        any_t_4 = inside_t.any(-1)  # (row,)
        pow_3 = torch.where(any_t_4, difference_4, 1.0) ** 0.5  # (row,)
        pow_4 = torch.where(any_t, pow_3, 1.0)  # (row,)
        pow_5 = torch.where(any_t_3, pow_4, 1.0)  # (row,)
        ratio_12 = s / torch.where(any_t_4, pow_5, 1.0)  # (row,)
        difference_5 = -log_of(ratio_12) - 0.9189385332046727  # (row,)
        difference_6 = -log_of(s) - 0.9189385332046727
        difference_7 = torch.where(test, difference_5[:, None], difference_6)  # (row, t)
        log_x = torch.where(x_observed, difference_7, 0.0)  # (row, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (row,)
        return narrow + sum_t  # (row,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The posterior mean and standard deviation of x, exact."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row,)
        inside_t = at_t < x_len[:, None]  # (row, t)
        test = at_t == 0  # (t,)
        any_t = (inside_t & test).any(-1)  # (row,)
        x_observed_at = x_observed[:, 0]  # (row,)
        any_row = (~x_observed_at).any(-1)
        phi = self.raw_phi.sigmoid()
        difference = 1 - phi.square()
        difference_2 = torch.where(any_row, difference, 1.0)
        pow = torch.where(any_t, difference_2, 1.0) ** 0.5  # (row,)
        pow_2 = torch.where(any_row, pow, 1.0)  # (row,)
        s = F.softplus(self.raw_s)
        ratio = s / torch.where(any_t, pow_2, 1.0)  # (row,)
        value = torch.where(x_observed_at, 0.0, ratio)  # (row,)
        value_2 = torch.where(test, value[:, None], 0.0)  # (row, t)
        value_3 = torch.where(x_observed, 0.0, s)  # (row, t)
        total = value_2 + torch.where(test, 0.0, value_3)  # (row, t)
        value_4 = torch.where(x_observed, 0.0, phi)  # (row, t)
        value_5 = torch.where(test, 0.0, value_4)  # (row, t)
        reach = reach_of_steps(value_5)  # (row, t, t')
        product = reach * total[:, None]  # (row, t, t')
        product_before = steps_back(product, 1, dim=1, fill=0.0)  # (row, t, t')
        any_t_2 = (inside_t & (at_t != 0)).any(-1)  # (row,)
        s_2 = torch.where(any_t_2, s, 1.0)  # (row,)
        any_t_3 = (inside_t & x_observed).any(-1)  # (row,)
        s_3 = torch.where(any_t_3, s_2, 1.0)  # (row,)
        ratio_2 = (product - product_before * phi) / s_3[:, None, None]  # (row, t, t')
        value_6 = torch.where(test[:, None], 0.0, ratio_2)  # (row, t, t')
        value_7 = torch.where(x_observed[:, :, None], value_6, 0.0)  # (row, t, t')
        x = batch["x"]  # (row, t)
        x_at = x[:, 0]  # (row,)
        x_2 = torch.where(x_observed_at, x_at, 0.0)  # (row,)
        x_4 = torch.where(x_observed_at, x_2, self.mu)  # (row,)
        x_3 = torch.where(x_observed, x, 0.0)  # (row, t)
        x_5 = torch.where(x_observed, x_3, self.mu + -self.mu * phi)  # (row, t)
        x_6 = torch.where(test, x_4[:, None], x_5)  # (row, t)
        product_2 = torch.einsum("rta,ra->rt", reach, x_6)  # (row, t)
        product_before_2 = steps_back(product_2, 1, dim=1, fill=0.0)  # (row, t)
        total_2 = product_2 - (self.mu + (product_before_2 - self.mu) * phi)  # (row, t)
        value_8 = torch.where(test, 0.0, total_2 / s_3[:, None])  # (row, t)
        value_9 = torch.where(x_observed, value_8, 0.0)  # (row, t)
        joined = torch.cat([value_7, value_9.unsqueeze(-1)], -1)  # (row, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row, t, e)
        gram_ = gram(joined_2.double())  # (row, e, e')
        difference_3 = torch.where(any_t, difference, 1.0)  # (row,)
        pow_3 = torch.where(any_t_3, difference_3, 1.0) ** 0.5  # (row,)
        pow_4 = torch.where(any_t, pow_3, 1.0)  # (row,)
        ratio_3 = s / torch.where(any_t_3, pow_4, 1.0)  # (row,)
        ratio_4 = torch.where(any_t, ratio_3, 1.0)  # (row,)
        ratio_5 = torch.where(any_t_3, ratio_4, 1.0)  # (row,)
        ratio_6 = product / ratio_5[:, None, None]  # (row, t, t')
        ratio_7 = torch.where(test[:, None], ratio_6, 0.0)  # (row, t, t')
        ratio_8 = torch.where(x_observed[:, :, None], ratio_7, 0.0)  # (row, t, t')
        ratio_9 = (product_2 - self.mu) / ratio_5[:, None]  # (row, t)
        ratio_10 = torch.where(test, ratio_9, 0.0)  # (row, t)
        ratio_11 = torch.where(x_observed, ratio_10, 0.0)  # (row, t)
        joined_3 = torch.cat([ratio_8, ratio_11.unsqueeze(-1)], -1)  # (row, t, e)
        joined_4 = torch.where(inside_t[:, :, None], joined_3, 0.0)  # (row, t, e)
        gram_2 = gram(joined_4.double())  # (row, e, e')
        moments_, moments_2 = moments(gram_2 + gram_, size=x_observed.shape[1])  # (row, e), (row, e, e')
        wide_product = product.double()  # (row, t, e)
        product_3 = torch.einsum("rte,re->rt", wide_product, moments_)  # (row, t)
        product_4 = torch.einsum("rte,rea,rta->rt", wide_product, moments_2, wide_product)  # (row, t)
        sqrt = product_4.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row, t)
        return {"x": {"mean": product_2 + product_3.to(self.one.dtype), "sd": sqrt}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The mean and the standard deviation (mean, sd) of each latent number, exact.

        x: real, (row, t).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are integrated and told by their moments")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row,)
        test = (at_t < x_len[:, None]) & x_observed & (at_t >= 1)  # (row, t)
        x = batch["x"]  # (row, t)
        x_2 = torch.where(x_observed, x, 0.0)  # (row, t)
        mu, s = by_group_among(normal_start, x_2, 2, (), (self.mu, self.s), inside=test)
        self.mu[...] = mu
        self.s = s

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        phi = self.raw_phi.sigmoid()
        s = F.softplus(self.raw_s)
        ratio = s / (1 - phi.square()) ** 0.5
        x = self.one.new_zeros(n, t_size)  # (row, t)
        for t in range(t_size):
            if t == 0:
                x_now = decide(torch.distributions.Normal(loc=self.mu, scale=ratio).expand((n,)), rule, True)  # (row,)
                x[:, t] = x_now
            else:
                total = self.mu + phi * (x[:, t - 1] - self.mu)  # (row,)
                x_now = decide(torch.distributions.Normal(loc=total, scale=s).expand((n,)), rule, True)  # (row,)
                x[:, t] = x_now
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (row, t)
        x_padded = up_to_the_ends(x, inside_t)  # (row, t)
        return {
            "x": x_padded, "x_len": lengths["t"], "x_observed": torch.tensor(True, device=self.one.device).expand(n, t_size)
        }

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("t",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    def predictive(self, batch: dict[str, Tensor], total, of, tilt: dict[str, Tensor], values: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` times what `of` tells of each missing number's law added, and `total` for sums."""
        batch = with_room(batch)
        x_observed = batch["x_observed"]  # (row, t)
        at_t = torch.arange(x_observed.shape[1], device=self.one.device)  # (t,)
        x_len = batch["x_len"]  # (row,)
        inside_t = at_t < x_len[:, None]  # (row, t)
        test = at_t == 0  # (t,)
        any_t = (inside_t & test).any(-1)  # (row,)
        x_observed_at = x_observed[:, 0]  # (row,)
        any_row = (~x_observed_at).any(-1)
        phi = self.raw_phi.sigmoid()
        difference = 1 - phi.square()
        difference_2 = torch.where(any_row, difference, 1.0)
        pow = torch.where(any_t, difference_2, 1.0) ** 0.5  # (row,)
        pow_2 = torch.where(any_row, pow, 1.0)  # (row,)
        s = F.softplus(self.raw_s)
        ratio = s / torch.where(any_t, pow_2, 1.0)  # (row,)
        value = torch.where(x_observed_at, 0.0, ratio)  # (row,)
        value_2 = torch.where(test, value[:, None], 0.0)  # (row, t)
        value_3 = torch.where(x_observed, 0.0, s)  # (row, t)
        total_ = value_2 + torch.where(test, 0.0, value_3)  # (row, t)
        value_4 = torch.where(x_observed, 0.0, phi)  # (row, t)
        value_5 = torch.where(test, 0.0, value_4)  # (row, t)
        reach = reach_of_steps(value_5)  # (row, t, t')
        product = reach * total_[:, None]  # (row, t, t')
        product_before = steps_back(product, 1, dim=1, fill=0.0)  # (row, t, t')
        any_t_2 = (inside_t & (at_t != 0)).any(-1)  # (row,)
        s_2 = torch.where(any_t_2, s, 1.0)  # (row,)
        any_t_3 = (inside_t & x_observed).any(-1)  # (row,)
        s_3 = torch.where(any_t_3, s_2, 1.0)  # (row,)
        ratio_2 = (product - product_before * phi) / s_3[:, None, None]  # (row, t, t')
        value_6 = torch.where(test[:, None], 0.0, ratio_2)  # (row, t, t')
        value_7 = torch.where(x_observed[:, :, None], value_6, 0.0)  # (row, t, t')
        x = batch["x"]  # (row, t)
        x_at = x[:, 0]  # (row,)
        x_2 = torch.where(x_observed_at, x_at, 0.0)  # (row,)
        x_4 = torch.where(x_observed_at, x_2, self.mu)  # (row,)
        x_3 = torch.where(x_observed, x, 0.0)  # (row, t)
        x_5 = torch.where(x_observed, x_3, self.mu + -self.mu * phi)  # (row, t)
        x_6 = torch.where(test, x_4[:, None], x_5)  # (row, t)
        product_2 = torch.einsum("rta,ra->rt", reach, x_6)  # (row, t)
        product_before_2 = steps_back(product_2, 1, dim=1, fill=0.0)  # (row, t)
        total_2 = product_2 - (self.mu + (product_before_2 - self.mu) * phi)  # (row, t)
        value_8 = torch.where(test, 0.0, total_2 / s_3[:, None])  # (row, t)
        value_9 = torch.where(x_observed, value_8, 0.0)  # (row, t)
        joined = torch.cat([value_7, value_9.unsqueeze(-1)], -1)  # (row, t, e)
        joined_2 = torch.where(inside_t[:, :, None], joined, 0.0)  # (row, t, e)
        gram_ = gram(joined_2.double())  # (row, e, e')
        difference_3 = torch.where(any_t, difference, 1.0)  # (row,)
        difference_4 = torch.where(any_t_3, difference_3, 1.0)  # (row,)
        value_10 = torch.where(any_t, difference_4 ** 0.5, 1.0)  # (row,)
        ratio_3 = s / torch.where(any_t_3, value_10, 1.0)  # (row,)
        ratio_4 = torch.where(any_t, ratio_3, 1.0)  # (row,)
        ratio_5 = torch.where(any_t_3, ratio_4, 1.0)  # (row,)
        ratio_6 = product / ratio_5[:, None, None]  # (row, t, t')
        ratio_7 = torch.where(test[:, None], ratio_6, 0.0)  # (row, t, t')
        ratio_8 = torch.where(x_observed[:, :, None], ratio_7, 0.0)  # (row, t, t')
        ratio_9 = (product_2 - self.mu) / ratio_5[:, None]  # (row, t)
        ratio_10 = torch.where(test, ratio_9, 0.0)  # (row, t)
        ratio_11 = torch.where(x_observed, ratio_10, 0.0)  # (row, t)
        joined_3 = torch.cat([ratio_8, ratio_11.unsqueeze(-1)], -1)  # (row, t, e)
        joined_4 = torch.where(inside_t[:, :, None], joined_3, 0.0)  # (row, t, e)
        gram_2 = gram(joined_4.double())  # (row, e, e')
        total_3 = gram_2 + gram_  # (row, e, e')
        moments_, moments_2 = moments(total_3, size=x_observed.shape[1])  # (row, e), (row, e, e')
        wide_product = product.double()  # (row, t, e)
        product_3 = torch.einsum("rte,rea,rta->rt", wide_product, moments_2, wide_product)  # (row, t)
        narrow_product = product_3.to(self.one.dtype)  # (row, t)
        test_2 = narrow_product > 0.0  # (row, t)
        narrow_product_2 = torch.where(test_2, narrow_product, 1.0)  # (row, t)
        sqrt = torch.where(test_2, narrow_product_2, 1.0).sqrt()  # (row, t)
        sqrt_2 = torch.where(test_2, sqrt, 1.0)  # (row, t)
        product_4 = torch.einsum("rte,re->rt", wide_product, moments_)  # (row, t)
        total_4 = product_2 + product_4.to(self.one.dtype)  # (row, t)
        normal = normal_log_cdf(values["x"], total_4, sqrt_2)  # (row, t)
        normal_2 = normal.exp()  # (row, t)
        log_x_2 = normal_log_prob(values["x"], total_4, sqrt_2)  # (row, t)
        Normal = of(
            torch.distributions.Normal(loc=total_4, scale=sqrt_2).expand((x_len.shape[0], x_observed.shape[1])),
            log_x_2,
            normal_2,
        )  # (row, t)
        value_11 = torch.where(inside_t, tilt["x"] * Normal, 0.0)  # (row, t)
        eliminate_, eliminate_2 = eliminate(total_3, size=x_observed.shape[1])  # (row, 1, 1'), (row,)
        eliminate_at = eliminate_[:, 0, 0]  # (row,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (row,)
        any_t_4 = inside_t.any(-1)  # (row,)
        pow_3 = torch.where(any_t_4, difference_4, 1.0) ** 0.5  # (row,)
        pow_4 = torch.where(any_t, pow_3, 1.0)  # (row,)
        pow_5 = torch.where(any_t_3, pow_4, 1.0)  # (row,)
        ratio_12 = s / torch.where(any_t_4, pow_5, 1.0)  # (row,)
        difference_5 = -log_of(ratio_12) - 0.9189385332046727  # (row,)
        difference_6 = -log_of(s) - 0.9189385332046727
        difference_7 = torch.where(test, difference_5[:, None], difference_6)  # (row, t)
        log_x = torch.where(x_observed, difference_7, 0.0)  # (row, t)
        sum_t = torch.where(inside_t, log_x, 0.0).sum(-1)  # (row,)
        return narrow + sum_t + value_11.sum(-1)  # (row,)

    def tilts(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A tilt of nothing for each missing number and label."""
        x = batch["x"]  # (row, t)
        return {"x": self.one.new_zeros(x.shape[0], x.shape[1])}

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
