"""RandomSlopes: emitted by vispec from random_slopes.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_i = product over i of log_x
    total = product of evidence_u, log_x_over_i

    u     integrated; jointly Gaussian given the rest
    days  data; given by the data
    x     data; scored at the data
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
# probability: LogOfProbability
# probability: log_of
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.gaussian: inverse_factor
# sums.gaussian: moments
# sums.gaussian: with_prior
# sums.gaussian_few: EliminatedFew
# sums.gaussian_few: GramOf
# sums.gaussian_few: eliminate_few
# sums.gaussian_few: gram_of
# sums.gaussian_few: symmetric
# sums.gaussian_few: taken
# told.decide: decide
# told.decide: predictive


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class RandomSlopes(nn.Module):
    """Batch: days (subject, i) real; x (subject, i) real; days_len (subject)."""

    exact = True
    estimator = "exact"

    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.zeros(2))  # (2)
        self.raw_L = nn.Parameter(torch.zeros(2, 2))  # (2, 2)
        self.raw_s = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def L(self) -> Tensor:
        """cholesky[2]."""
        return to_cholesky(self.raw_L)

    @L.setter
    def L(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = from_cholesky(value)
            self.raw_L.copy_(in_domain(raw, to_cholesky(raw), value))

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
        """log p of each row (subject,), exact, in nats."""
        batch = with_room(batch)
        L = to_cholesky(self.raw_L)  # (2', 2)
        L_at = L[1, 0]
        days = batch["days"]  # (subject, i)
        L_at_2 = L[0, 0]
        s = F.softplus(self.raw_s)
        ratio = -(L_at_2 + L_at * days) / s  # (subject, i)
        L_at_3 = L[1, 1]
        L_at_4 = L[0, 1]
        ratio_2 = -(L_at_4 + L_at_3 * days) / s  # (subject, i)
        b_at = self.b[1]
        b_at_2 = self.b[0]
        x = batch["x"]  # (subject, i)
        total = x - (b_at_2 + b_at * days)  # (subject, i)
        days_len = batch["days_len"]  # (subject,)
        inside_i = torch.arange(days.shape[1], device=self.one.device) < days_len[:, None]  # (subject, i)
        gram = gram_of(ratio, ratio_2, total / s, inside=inside_i)  # (subject, e, e')
        eliminate, eliminate_2 = eliminate_few(gram, size=2)  # (subject, 1, 1'), (subject,)
        eliminate_at = eliminate[:, 0, 0]  # (subject,)
        narrow = (-0.5 * eliminate_at - eliminate_2).to(self.one.dtype)  # (subject,)
        any_subject = (days_len != 0).any(-1)
        value = torch.where(any_subject, log_of(s), 0.0)
        log_x = -value - 0.9189385332046727
        value_2 = torch.where(days_len == 0, 0.0, log_x * days_len)  # (subject,)
        return narrow + value_2  # (subject,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The posterior mean and standard deviation of u, exact."""
        batch = with_room(batch)
        L = to_cholesky(self.raw_L)  # (2', 2)
        L_at = L[1, 0]
        days = batch["days"]  # (subject, i)
        L_at_2 = L[0, 0]
        s = F.softplus(self.raw_s)
        ratio = -(L_at_2 + L_at * days) / s  # (subject, i)
        L_at_3 = L[1, 1]
        L_at_4 = L[0, 1]
        ratio_2 = -(L_at_4 + L_at_3 * days) / s  # (subject, i)
        b_at = self.b[1]
        b_at_2 = self.b[0]
        x = batch["x"]  # (subject, i)
        total = x - (b_at_2 + b_at * days)  # (subject, i)
        days_len = batch["days_len"]  # (subject,)
        inside_i = torch.arange(days.shape[1], device=self.one.device) < days_len[:, None]  # (subject, i)
        gram = gram_of(ratio, ratio_2, total / s, inside=inside_i)  # (subject, e, e')
        moments_, moments_2 = moments(gram, size=2)  # (subject, e), (subject, e, e')
        wide_L = L.double()  # (2, e)
        product = moments_ @ wide_L.T  # (subject, 2)
        product_2 = torch.einsum("ae,seb,ab->sa", wide_L, moments_2, wide_L)  # (subject, 2)
        sqrt = product_2.to(self.one.dtype).clamp(min=0.0).sqrt()  # (subject, 2)
        return {"u": {"mean": self.b + product.to(self.one.dtype), "sd": sqrt}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The mean and the standard deviation (mean, sd) of each latent number, exact.

        u: real[2], (subject).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are integrated and told by their moments")
        return self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        batch = with_room(batch)
        x = batch["x"]  # (subject, i)
        days_len = batch["days_len"]  # (subject,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < days_len[:, None]  # (subject, i)
        self.s = by_group_among(normal_start, x, 2, (), (None, self.s), inside=inside_i)[0]

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        L = to_cholesky(self.raw_L)  # (2', 2)
        u = torch.distributions.MultivariateNormal(loc=self.b, scale_tril=L).expand((n,)).sample()  # (subject, 2)
        days = batch["days"]  # (subject, i)
        u_at = u[:, 1]  # (subject,)
        u_at_2 = u[:, 0]  # (subject,)
        total = u_at_2[:, None] + u_at[:, None] * days  # (subject, i)
        s = F.softplus(self.raw_s)
        x = decide(torch.distributions.Normal(loc=total, scale=s).expand((n, days.shape[1])), rule, False)  # (subject, i)
        days_len = batch["days_len"]  # (subject,)
        inside_i = torch.arange(days.shape[1], device=self.one.device) < days_len[:, None]  # (subject, i)
        x_padded = up_to_the_ends(x, inside_i)  # (subject, i)
        return {"u": u, "days": days, "x": x_padded, "days_len": days_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds days.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["days"]), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
