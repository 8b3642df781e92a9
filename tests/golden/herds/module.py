"""Herds: emitted by vispec from herds.vispec; imports torch and nothing else.

    log_prob: exact

    total = product of log_p, log_x, evidence_p

    size  data; given by the data
    p     integrated; conjugate: Beta of Binomial
    x     data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# sums.logsum: impossible_alone
# told.decide: decide
# told.decide: predictive


class Herds(nn.Module):
    """Batch: size (herd) count; x (herd) count."""

    exact = True
    estimator = "exact"

    def __init__(self):
        super().__init__()
        self.raw_a = nn.Parameter(torch.zeros(()))
        self.raw_b = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def a(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_a)

    @a.setter
    def a(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_a.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def b(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_b)

    @b.setter
    def b(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_b.copy_(in_domain(raw, F.softplus(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (herd,), exact, in nats."""
        x = batch["x"]  # (herd,)
        wide_x = x.double()  # (herd,)
        size = batch["size"]  # (herd,)
        wide_size = size.double()  # (herd,)
        test = (wide_x >= 0.0) & (wide_x <= wide_size)  # (herd,)
        wide_size_2 = torch.where(test, wide_size, 0.0)  # (herd,)
        wide_x_2 = torch.where(test, wide_x, 0.0)  # (herd,)
        difference = wide_size_2 - wide_x_2  # (herd,)
        total = (wide_x_2 + 1.0).lgamma() + (difference + 1.0).lgamma()  # (herd,)
        difference_2 = (wide_size_2 + 1.0).lgamma() - total  # (herd,)
        difference_3 = torch.where(test, difference_2, -torch.inf)  # (herd,)
        value = F.softplus(self.raw_b.double())
        p_concentration0 = value + difference  # (herd,)
        value_2 = F.softplus(self.raw_a.double())
        p_concentration1 = value_2 + wide_x_2  # (herd,)
        total_2 = p_concentration1.lgamma() + p_concentration0.lgamma()  # (herd,)
        difference_4 = total_2 - (p_concentration0 + p_concentration1).lgamma()  # (herd,)
        difference_5 = value_2.lgamma() + value.lgamma() - (value_2 + value).lgamma()
        narrow = (difference_4 + difference_3 - difference_5).to(self.one.dtype)  # (herd,)
        return impossible_alone(narrow)  # (herd,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The posterior mean and standard deviation of p, exact."""
        x = batch["x"]  # (herd,)
        wide_x = x.double()  # (herd,)
        size = batch["size"]  # (herd,)
        wide_size = size.double()  # (herd,)
        test = (wide_x >= 0.0) & (wide_x <= wide_size)  # (herd,)
        wide_x_2 = torch.where(test, wide_x, 0.0)  # (herd,)
        difference = torch.where(test, wide_size, 0.0) - wide_x_2  # (herd,)
        p_concentration0 = F.softplus(self.raw_b.double()) + difference  # (herd,)
        p_concentration1 = F.softplus(self.raw_a.double()) + wide_x_2  # (herd,)
        total = p_concentration0 + p_concentration1  # (herd,)
        ratio = p_concentration1 / total  # (herd,)
        ratio_2 = ratio * (p_concentration0 / total) / (total + 1.0)  # (herd,)
        sqrt = ratio_2.to(self.one.dtype).clamp(min=0.0).sqrt()  # (herd,)
        return {"p": {"mean": ratio.to(self.one.dtype), "sd": sqrt}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The mean and the standard deviation (mean, sd) of each latent number, exact.

        p: unit, (herd).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are integrated and told by their moments")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        size = batch["size"]  # (herd,)
        a = F.softplus(self.raw_a)
        b = F.softplus(self.raw_b)
        p = torch.distributions.Beta(concentration1=a, concentration0=b).expand((n,)).sample()  # (herd,)
        x = decide(torch.distributions.Binomial(total_count=size, probs=p).expand((n,)), rule, False)  # (herd,)
        return {"size": size, "p": p, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds size.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["size"]), {"x": "count"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
