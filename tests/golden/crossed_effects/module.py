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
# sums.gaussian_apart: EliminatedApart
# sums.gaussian_apart: eliminate_apart
# sums.gaussian_apart: moments_apart
# sums.scatter: add_by_index
# sums.scatter: add_by_indices
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
        batch_ = batch["batch"]  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(batch_.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        any_n = inside_n.any((0, 1))
        s = F.softplus(self.raw_s)
        s_2 = torch.where(any_n, s, 1.0)
        s_batch = F.softplus(self.raw_s_batch)
        ratio = -s_batch / s_2
        s_dish = F.softplus(self.raw_s_dish)
        ratio_2 = -s_dish / s_2
        value = torch.where(inside_n, (ratio * ratio_2).double(), 0.0)  # (row2, n)
        batch_2 = torch.where(inside_n, batch_, 0)  # (row2, n)
        dish = batch["dish"]  # (row2, n)
        dish_2 = torch.where(inside_n, dish, 0)  # (row2, n)
        add = add_by_indices(value, batch_2, dish_2, size=self.S, size_too=self.P)  # (row2, batches, dishes)
        x = batch["x"]  # (row2, n)
        ratio_3 = (x - self.mu) / s_2  # (row2, n)
        value_2 = torch.where(inside_n, (ratio * ratio_3).double(), 0.0)  # (row2, n)
        add_2 = add_by_index(value_2, batch_2, size=self.S)  # (row2, batches)
        joined = torch.cat([add, add_2.unsqueeze(-1)], -1)  # (row2, batches, e')
        wide = self.one.double() * 0.0
        total = wide + joined  # (row2, batches, e')
        value_3 = torch.where(inside_n, (ratio * ratio).double(), 0.0)  # (row2, n)
        add_3 = add_by_index(value_3, batch_2, size=self.S)  # (row2, batches)
        total_2 = wide + add_3  # (row2, batches)
        eliminate_, eliminate_2 = eliminate_apart(total_2[:, :, None, None], total[:, :, None])  # (row2, e, e'), (row2,)
        value_4 = torch.where(inside_n, (ratio_2 * ratio_2).double(), 0.0)  # (row2, n)
        add_4 = add_by_indices(value_4, dish_2, dish_2, size=self.P, size_too=self.P)  # (row2, dishes, dishes')
        value_5 = torch.where(inside_n, (ratio_2 * ratio_3).double(), 0.0)  # (row2, n)
        add_5 = add_by_index(value_5, dish_2, size=self.P)  # (row2, dishes)
        joined_2 = torch.cat([add_4, add_5.unsqueeze(-1)], -1)  # (row2, dishes, e')
        value_6 = torch.where(inside_n, (ratio_3 * ratio_3).double(), 0.0)  # (row2, n)
        value_over_n = value_6.sum(-1)  # (row2,)
        joined_3 = torch.cat([add_5, value_over_n.unsqueeze(-1)], -1)  # (row2, e')
        joined_4 = torch.cat([joined_2.transpose(-2, -1), joined_3.unsqueeze(-1)], -1)  # (row2, e', e)
        total_3 = eliminate_ + joined_4.transpose(-2, -1)  # (row2, e, e')
        eliminate_3, eliminate_4 = eliminate(total_3, size=self.P)  # (row2, 1, 1'), (row2,)
        eliminate_at = eliminate_3[:, 0, 0]  # (row2,)
        narrow = (-0.5 * eliminate_at - eliminate_2 - eliminate_4).to(self.one.dtype)  # (row2,)
        any_row2 = (dish_len != 0).any(-1)
        value_7 = torch.where(any_row2, log_of(s), 0.0)
        log_x = -value_7 - 0.9189385332046727
        value_8 = torch.where(dish_len == 0, 0.0, log_x * dish_len)  # (row2,)
        return narrow + value_8  # (row2,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The posterior mean and standard deviation of u, v, exact."""
        batch = with_room(batch)
        batch_ = batch["batch"]  # (row2, n)
        dish_len = batch["dish_len"]  # (row2,)
        inside_n = torch.arange(batch_.shape[1], device=self.one.device) < dish_len[:, None]  # (row2, n)
        any_n = inside_n.any((0, 1))
        s = F.softplus(self.raw_s)
        s_2 = torch.where(any_n, s, 1.0)
        s_batch = F.softplus(self.raw_s_batch)
        ratio = -s_batch / s_2
        s_dish = F.softplus(self.raw_s_dish)
        ratio_2 = -s_dish / s_2
        value = torch.where(inside_n, (ratio * ratio_2).double(), 0.0)  # (row2, n)
        batch_2 = torch.where(inside_n, batch_, 0)  # (row2, n)
        dish = batch["dish"]  # (row2, n)
        dish_2 = torch.where(inside_n, dish, 0)  # (row2, n)
        add = add_by_indices(value, batch_2, dish_2, size=self.S, size_too=self.P)  # (row2, batches, dishes)
        x = batch["x"]  # (row2, n)
        ratio_3 = (x - self.mu) / s_2  # (row2, n)
        value_2 = torch.where(inside_n, (ratio * ratio_3).double(), 0.0)  # (row2, n)
        add_2 = add_by_index(value_2, batch_2, size=self.S)  # (row2, batches)
        joined = torch.cat([add, add_2.unsqueeze(-1)], -1)  # (row2, batches, e')
        wide = self.one.double() * 0.0
        total = wide + joined  # (row2, batches, e')
        value_3 = torch.where(inside_n, (ratio * ratio).double(), 0.0)  # (row2, n)
        add_3 = add_by_index(value_3, batch_2, size=self.S)  # (row2, batches)
        total_2 = wide + add_3  # (row2, batches)
        eliminate, _ = eliminate_apart(total_2[:, :, None, None], total[:, :, None])  # (row2, e, e')
        value_4 = torch.where(inside_n, (ratio_2 * ratio_2).double(), 0.0)  # (row2, n)
        add_4 = add_by_indices(value_4, dish_2, dish_2, size=self.P, size_too=self.P)  # (row2, dishes', dishes)
        value_5 = torch.where(inside_n, (ratio_2 * ratio_3).double(), 0.0)  # (row2, n)
        add_5 = add_by_index(value_5, dish_2, size=self.P)  # (row2, dishes')
        joined_2 = torch.cat([add_4, add_5.unsqueeze(-1)], -1)  # (row2, dishes', e')
        value_6 = torch.where(inside_n, (ratio_3 * ratio_3).double(), 0.0)  # (row2, n)
        value_over_n = value_6.sum(-1)  # (row2,)
        joined_3 = torch.cat([add_5, value_over_n.unsqueeze(-1)], -1)  # (row2, e')
        joined_4 = torch.cat([joined_2.transpose(-2, -1), joined_3.unsqueeze(-1)], -1)  # (row2, e', e)
        total_3 = eliminate + joined_4.transpose(-2, -1)  # (row2, e, e')
        moments_, moments_2 = moments(total_3, size=self.P)  # (row2, e), (row2, e, e')
        at_dishes = torch.arange(self.P, device=self.one.device)  # (dishes,)
        s_dish_2 = torch.where(at_dishes[:, None] == at_dishes, s_dish, 0.0)  # (dishes, dishes')
        wide_s_dish = s_dish_2.double()  # (dishes, e)
        product = moments_ @ wide_s_dish.T  # (row2, dishes)
        product_2 = torch.einsum("de,rea,da->rd", wide_s_dish, moments_2, wide_s_dish)  # (row2, dishes)
        sqrt = product_2.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row2, dishes)
        moments_3, moments_4, _ = moments_apart(
            total_2[:, :, None, None], total[:, :, None], mean=moments_, covariance=moments_2
        )  # (row2, batches, e), (row2, batches, e, e')
        joined_5 = torch.stack([s_batch], -1)  # (e,)
        wide_joined = joined_5.double()  # (e,)
        product_3 = moments_3 @ wide_joined  # (row2, batches)
        product_4 = torch.einsum("e,rbea,a->rb", wide_joined, moments_4, wide_joined)  # (row2, batches)
        sqrt_2 = product_4.to(self.one.dtype).clamp(min=0.0).sqrt()  # (row2, batches)
        return {
            "u": {"mean": product.to(self.one.dtype), "sd": sqrt}, "v": {"mean": product_3.to(self.one.dtype), "sd": sqrt_2}
        }

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The mean and the standard deviation (mean, sd) of each latent number, exact.

        u: real, (row2, dishes).
        v: real, (row2, batches).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are integrated and told by their moments")
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
