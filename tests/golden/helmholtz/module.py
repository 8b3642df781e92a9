"""Helmholtz: emitted by vispec from helmholtz.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, wake_sleep()

    total = product of ratio_top, ratio_low, log_x

    top  wake_sleep(); discrete; guide Bernoulli; biased: the guide learns from the model's own samples
    low  wake_sleep(); discrete; guide Bernoulli; biased: the guide learns from the model's own samples
    x    data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# told.decide: decide
# told.decide: predictive


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


class Lower(nn.Module):
    """(top: bit[TOP]) → unit[LOW]: linear(LOW)."""

    def __init__(self, TOP: int, LOW: int):
        super().__init__()
        self.linear = nn.Linear(TOP, LOW)
        self.out = nn.Linear(LOW, LOW)

    def features(self, top: Tensor) -> Tensor:
        """top (*B, TOP) → (*B, LOW)."""
        return self.linear(top)

    def forward(self, top: Tensor) -> Tensor:
        """(*B, LOW) log-odds."""
        return self.out(self.features(top))


class Decode(nn.Module):
    """(low: bit[LOW]) → unit[784]: linear(784)."""

    def __init__(self, LOW: int):
        super().__init__()
        self.linear = nn.Linear(LOW, 784)
        self.out = nn.Linear(784, 784)

    def features(self, low: Tensor) -> Tensor:
        """low (*B, LOW) → (*B, 784)."""
        return self.linear(low)

    def forward(self, low: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(low))


class Encode(nn.Module):
    """(x: bit[784]) → unit[LOW]: linear(LOW)."""

    def __init__(self, LOW: int):
        super().__init__()
        self.linear = nn.Linear(784, LOW)
        self.out = nn.Linear(LOW, LOW)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, LOW)."""
        return self.linear(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, LOW) log-odds."""
        return self.out(self.features(x))


class Higher(nn.Module):
    """(low: bit[LOW]) → unit[TOP]: linear(TOP)."""

    def __init__(self, TOP: int, LOW: int):
        super().__init__()
        self.linear = nn.Linear(LOW, TOP)
        self.out = nn.Linear(TOP, TOP)

    def features(self, low: Tensor) -> Tensor:
        """low (*B, LOW) → (*B, TOP)."""
        return self.linear(low)

    def forward(self, low: Tensor) -> Tensor:
        """(*B, TOP) log-odds."""
        return self.out(self.features(low))


class Helmholtz(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "wake_sleep()"

    def __init__(self, TOP: int = 50, LOW: int = 200):
        super().__init__()
        self.TOP = TOP
        self.LOW = LOW
        self.raw_chance = nn.Parameter(torch.zeros(TOP))  # (TOP)
        self.lower = Lower(TOP, LOW)
        self.decode = Decode(LOW)
        self.encode = Encode(LOW)
        self.higher = Higher(TOP, LOW)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def chance(self) -> Tensor:
        """unit[TOP]."""
        return torch.sigmoid(self.raw_chance)

    @chance.setter
    def chance(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = torch.logit(value)
            self.raw_chance.copy_(in_domain(raw, torch.sigmoid(raw), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).sample()  # (n, LOW)
        higher = self.higher(low)  # (n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).sample()  # (n, TOP)
        value = bernoulli_log_prob(top, self.raw_chance)  # (n, TOP)
        log_p_top = value.sum(-1)  # (n,)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (n,)
        lower = self.lower(top)  # (n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (n,)
        log_q_low = -F.binary_cross_entropy_with_logits(encode, low, reduction="none").sum(-1)  # (n,)
        decode = self.decode(low)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_p_top - log_q_top.detach() + (log_p_low - log_q_low.detach()) + log_x  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of minus the bound: (N/M) Σ over the rows of the batch.

        Its gradient for the model is that of log p at draws of the guide (wake), for the guide that of log q at dreams
        of the model (sleep), whose value cancels.
        """
        log_prob = self.log_prob(batch) + gradient_alone(self.sleep(batch))
        return log_prob.sum() * (-num_data / len(log_prob))

    def sleep(self, batch: dict[str, Tensor]) -> Tensor:
        """log q of the latents of dreamed rows, as many as in the batch (n,): it teaches the guide."""
        batch = self.sample(len(batch["x"]), batch)
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = batch["low"]  # (n, LOW)
        log_q_low = -F.binary_cross_entropy_with_logits(encode, low, reduction="none").sum(-1)  # (n,)
        higher = self.higher(low)  # (n, TOP)
        top = batch["top"]  # (n, TOP)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (n,)
        return log_q_low + log_q_top  # (n,)

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.LOW)).sample()  # (s*, n, LOW)
        higher = self.higher(low)  # (s*, n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).sample()  # (s*, n, TOP)
        value = bernoulli_log_prob(top, self.raw_chance)  # (s*, n, TOP)
        log_p_top = value.sum(-1)  # (s*, n)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (s*, n)
        lower = self.lower(top)  # (s*, n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(low, encode)  # (s*, n, LOW)
        log_q_low = value_2.sum(-1)  # (s*, n)
        decode = self.decode(low)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        return log_p_top - log_q_top + (log_p_low - log_q_low) + log_x  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of low, top: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.LOW)).sample()  # (s*, n, LOW)
        higher = self.higher(low)  # (s*, n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).sample()  # (s*, n, TOP)
        lower = self.lower(top)  # (s*, n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (s*, n)
        value = bernoulli_log_prob(low, encode)  # (s*, n, LOW)
        log_q_low = value.sum(-1)  # (s*, n)
        value_2 = bernoulli_log_prob(top, self.raw_chance)  # (s*, n, TOP)
        log_p_top = value_2.sum(-1)  # (s*, n)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (s*, n)
        return {"low": (log_p_low - log_q_low, low), "top": (log_p_top - log_q_top, top)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of low, top; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        encode_prob = encode.sigmoid()  # (n, LOW)
        higher = self.higher(encode_prob)  # (n, TOP)
        return {"low": {"probs": encode_prob}, "top": {"probs": higher.sigmoid()}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        low: bit[LOW], (n).
        top: bit[TOP], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        top = torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.TOP)).sample()  # (n, TOP)
        lower = self.lower(top)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=lower).sample()  # (n, LOW)
        decode = self.decode(low)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784)), rule, False)  # (n, 784)
        return {"top": top, "low": low, "x": x}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
