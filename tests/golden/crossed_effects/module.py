"""CrossedEffects: emitted by vispec from crossed_effects.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_n = product over n of log_x
    total = product of evidence_u_v, log_x_over_n

    u      integrated; jointly Gaussian given the rest
    v      integrated; jointly Gaussian given the rest
    dish   data; given by the data
    batch  data; given by the data
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
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.gaussian: Eliminated
# sums.gaussian: eliminate
# sums.gaussian: inverse_factor
# sums.gaussian: moments
# sums.gaussian: with_prior
# told.decide: decide
# told.decide: predictive


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class CrossedEffects(nn.Module):
    """Batch: dish (row2, n) index[dishes]; batch (row2, n) index[batches]; x (row2, n) real; dish_len (row2)."""

    exact = True
    estimator = "exact"

    def __init__(self, P: int, S: int):
        super().__init__()
        self.P = P
        self.S = S
        self.mu = nn.Parameter(torch.zeros(()))
        self.raw_s_dish = nn.Parameter(torch.zeros(()))
        self.raw_s_batch = nn.Parameter(torch.zeros(()))
        self.raw_s = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def s_dish(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_s_dish)

    @s_dish.setter
    def s_dish(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_s_dish.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def s_batch(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_s_batch)

    @s_batch.setter
    def s_batch(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_s_batch.copy_(in_domain(raw, F.softplus(raw), value))

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
        """log p of each row (row2,), exact, in nats."""
        batch = with_room(batch)
        dish = batch["dish"]  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(dish.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        test = dish[:, :, None] == torch.arange(self.P, device=self.one.device)  # (row2, n, dishes)
        any_dishes = (inside_n[:, :, None] & test).any((0, 1, 2))
        s = F.softplus(self.raw_s)
        s_dish = F.softplus(self.raw_s_dish)
        ratio = -s_dish / torch.where(any_dishes, s, 1.0)
        ratio_2 = torch.where(test, ratio, 0.0)  # (row2, n, dishes)
        batch_ = batch["batch"]  # (row2, n)
        test_2 = batch_[:, :, None] == torch.arange(self.S, device=self.one.device)  # (row2, n, batches)
        any_batches = (inside_n[:, :, None] & test_2).any((0, 1, 2))
        s_batch = F.softplus(self.raw_s_batch)
        ratio_3 = -s_batch / torch.where(any_batches, s, 1.0)
        ratio_4 = torch.where(test_2, ratio_3, 0.0)  # (row2, n, batches)
        x = batch["x"]  # (row2, n)
        ratio_5 = (x - self.mu) / s  # (row2, n)
        joined = torch.cat([ratio_2, ratio_4, ratio_5.unsqueeze(-1)], -1)  # (row2, n, e)
        joined_2 = torch.where(inside_n[:, :, None], joined, 0.0)  # (row2, n, e)
        wide_joined = joined_2.double()  # (row2, n, e)
        product = wide_joined.transpose(-2, -1) @ wide_joined  # (row2, e, e')
        eliminate_, eliminate_2 = eliminate(product, size=self.P + self.S)  # (row2, 1, 1'), (row2,)
        eliminate_at = eliminate_[:, 0, 0]  # (row2,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (row2,)
        any_row2 = (dish_len != 0).any(-1)
        value = torch.where(any_row2, log_of(s), 0.0)
        log_x = -value - 0.9189385332046727
        value_2 = torch.where(dish_len == 0, 0.0, log_x * dish_len)  # (row2,)
        return narrow + value_2  # (row2,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of u, v; drawn latents are read at their locations."""
        batch = with_room(batch)
        dish = batch["dish"]  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(dish.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        at_dishes = torch.arange(self.P, device=self.one.device)  # (dishes,)
        test = dish[:, :, None] == at_dishes  # (row2, n, dishes')
        any_dishes = (inside_n[:, :, None] & test).any((0, 1, 2))
        s = F.softplus(self.raw_s)
        s_dish = F.softplus(self.raw_s_dish)
        ratio = -s_dish / torch.where(any_dishes, s, 1.0)
        ratio_2 = torch.where(test, ratio, 0.0)  # (row2, n, dishes')
        batch_ = batch["batch"]  # (row2, n)
        at_batches = torch.arange(self.S, device=self.one.device)  # (batches',)
        test_2 = batch_[:, :, None] == at_batches  # (row2, n, batches')
        any_batches = (inside_n[:, :, None] & test_2).any((0, 1, 2))
        s_batch = F.softplus(self.raw_s_batch)
        ratio_3 = -s_batch / torch.where(any_batches, s, 1.0)
        ratio_4 = torch.where(test_2, ratio_3, 0.0)  # (row2, n, batches')
        x = batch["x"]  # (row2, n)
        ratio_5 = (x - self.mu) / s  # (row2, n)
        joined = torch.cat([ratio_2, ratio_4, ratio_5.unsqueeze(-1)], -1)  # (row2, n, e)
        joined_2 = torch.where(inside_n[:, :, None], joined, 0.0)  # (row2, n, e)
        wide_joined = joined_2.double()  # (row2, n, e)
        product = wide_joined.transpose(-2, -1) @ wide_joined  # (row2, e, e')
        moments_, moments_2 = moments(product, size=self.P + self.S)  # (row2, e), (row2, e, e')
        s_dish_2 = torch.where(at_dishes[:, None] == at_dishes, s_dish, 0.0)  # (dishes, dishes')
        joined_3 = torch.cat([s_dish_2, (self.one * 0.0).expand(self.P, self.S)], -1)  # (dishes, e)
        wide_joined_2 = joined_3.double()  # (dishes, e)
        product_2 = moments_ @ wide_joined_2.T  # (row2, dishes)
        product_3 = torch.einsum("de,rea,da->rd", wide_joined_2, moments_2, wide_joined_2)  # (row2, dishes)
        sqrt = product_3.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row2, dishes)
        s_batch_2 = torch.where(at_batches[:, None] == at_batches, s_batch, 0.0)  # (batches, batches')
        joined_4 = torch.cat([(self.one * 0.0).expand(self.S, self.P), s_batch_2], -1)  # (batches, e)
        wide_joined_3 = joined_4.double()  # (batches, e)
        product_4 = moments_ @ wide_joined_3.T  # (row2, batches)
        product_5 = torch.einsum("be,rea,ba->rb", wide_joined_3, moments_2, wide_joined_3)  # (row2, batches)
        sqrt_2 = product_5.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row2, batches)
        return {
            "u": {"mean": product_2.to(self.one.dtype), "sd": sqrt}, "v": {"mean": product_4.to(self.one.dtype), "sd": sqrt_2}
        }

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        u: real, (row2, dishes).
        v: real, (row2, batches).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        batch = with_room(batch)
        x = batch["x"]  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(x.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        mu, s = by_group_among(normal_start, x, 2, (), (self.mu, self.s), inside=inside_n)
        self.mu[...] = mu
        self.s = s

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        s_dish = F.softplus(self.raw_s_dish)
        noise_u = self.one.new_empty(n, self.P).normal_()  # (row2, dishes)
        u = s_dish * noise_u  # (row2, dishes)
        s_batch = F.softplus(self.raw_s_batch)
        noise_v = self.one.new_empty(n, self.S).normal_()  # (row2, batches)
        v = s_batch * noise_v  # (row2, batches)
        dish = batch["dish"]  # (row2, n)
        batch_ = batch["batch"]  # (row2, n)
        u_at = u.gather(-1, dish)  # (row2, n)
        v_at = v.gather(-1, batch_)  # (row2, n)
        total = self.mu + u_at + v_at  # (row2, n)
        s = F.softplus(self.raw_s)
        x = decide(torch.distributions.Normal(loc=total, scale=s).expand((n, dish.shape[1])), rule, False)  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(dish.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        x_padded = up_to_the_ends(x, inside_n)  # (row2, n)
        return {"u": u, "v": v, "dish": dish, "batch": batch_, "x": x_padded, "dish_len": dish_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds dish, batch.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["dish"]), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
