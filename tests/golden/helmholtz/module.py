"""Helmholtz: emitted by vispec from helmholtz.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, wake_sleep()

    log p = ratio_top + ratio_low + log_x

    top  wake_sleep(); discrete; guide Bernoulli; biased: the guide learns from the model's own samples
    low  wake_sleep(); discrete; guide Bernoulli; biased: the guide learns from the model's own samples
    x    data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


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


class GradientAlone(torch.autograd.Function):
    """0, with the gradient of the argument: a term of an estimate's gradient, of which no value is the integral."""

    @staticmethod
    def forward(ctx, x):
        return torch.zeros_like(x)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def gradient_alone(x: Tensor) -> Tensor:
    """0 everywhere; its gradient goes to x, once."""
    return GradientAlone.apply(x)


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
            self.raw_chance.copy_(torch.logit(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: wake_sleep()."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).expand((x.shape[0], self.LOW,)).sample()  # (n, LOW)
        higher = self.higher(low)  # (n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).expand((x.shape[0], self.TOP,)).sample()  # (n, TOP)
        log_p_top = bernoulli_log_prob(top, self.raw_chance).sum(-1)  # (n,)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (n,)
        log_q_top_2 = log_q_top.detach()  # (n,)
        log_ratio_top = log_p_top - log_q_top_2  # (n,)
        lower = self.lower(top)  # (n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (n,)
        log_q_low = -F.binary_cross_entropy_with_logits(encode, low, reduction="none").sum(-1)  # (n,)
        log_q_low_2 = log_q_low.detach()  # (n,)
        log_ratio_low = log_p_low - log_q_low_2  # (n,)
        decode = self.decode(low)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_ratio_top + log_ratio_low + log_x  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of minus the bound: (N/M) Σ over the rows.

        Its gradient for the model is that of log p at draws of the guide (wake), for the guide that of log q at dreams
        of the model (sleep), whose value cancels.
        """
        log_prob = self.log_prob(batch)
        log_q = self.sleep(batch)
        return -(log_prob + gradient_alone(log_q)).sum() * (num_data / len(log_prob))

    def sleep(self, batch: dict[str, Tensor]) -> Tensor:
        """log q of the latents of dreamed rows, as many as in the batch (n,): it teaches the guide."""
        dream = self.sample(len(batch["x"]), batch)
        top = dream["top"]  # (n, TOP)
        low = dream["low"]  # (n, LOW)
        x = dream["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        log_q_low = -F.binary_cross_entropy_with_logits(encode, low, reduction="none").sum(-1)  # (n,)
        higher = self.higher(low)  # (n, TOP)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (n,)
        log_q = log_q_low + log_q_top  # (n,)
        return log_q

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.LOW,)).sample()  # (s*, n, LOW)
        higher = self.higher(low)  # (s*, n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).expand((samples, x.shape[0], self.TOP,)).sample()  # (s*, n, TOP)
        log_p_top = bernoulli_log_prob(top, self.raw_chance).sum(-1)  # (s*, n)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (s*, n)
        log_ratio_top = log_p_top - log_q_top  # (s*, n)
        lower = self.lower(top)  # (s*, n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (s*, n)
        log_q_low = bernoulli_log_prob(low, encode).sum(-1)  # (s*, n)
        log_ratio_low = log_p_low - log_q_low  # (s*, n)
        decode = self.decode(low)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        log_prob = log_ratio_top + log_ratio_low + log_x  # (s*, n)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        low: bit[LOW], (n).
        top: bit[TOP], (n).
        """
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        encode_prob = torch.sigmoid(encode)  # (n, LOW)
        higher = self.higher(encode_prob)  # (n, TOP)
        higher_prob = torch.sigmoid(higher)  # (n, TOP)
        return {"low": {"probs": encode_prob}, "top": {"probs": higher_prob}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of top, low: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, LOW)
        low = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.LOW,)).sample()  # (s*, n, LOW)
        higher = self.higher(low)  # (s*, n, TOP)
        top = torch.distributions.Bernoulli(logits=higher).expand((samples, x.shape[0], self.TOP,)).sample()  # (s*, n, TOP)
        log_p_top = bernoulli_log_prob(top, self.raw_chance).sum(-1)  # (s*, n)
        log_q_top = -F.binary_cross_entropy_with_logits(higher, top, reduction="none").sum(-1)  # (s*, n)
        log_ratio_top = log_p_top - log_q_top  # (s*, n)
        lower = self.lower(top)  # (s*, n, LOW)
        log_p_low = -F.binary_cross_entropy_with_logits(lower, low, reduction="none").sum(-1)  # (s*, n)
        log_q_low = bernoulli_log_prob(low, encode).sum(-1)  # (s*, n)
        log_ratio_low = log_p_low - log_q_low  # (s*, n)
        return {"top": (log_ratio_top, top), "low": (log_ratio_low, low)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        top = decide(torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.TOP,)), "sample", True)  # (n, TOP)
        lower = self.lower(top)  # (n, LOW)
        low = decide(torch.distributions.Bernoulli(logits=lower).expand((n, self.LOW,)), "sample", True)  # (n, LOW)
        decode = self.decode(low)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784,)), rule, False)  # (n, 784)
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
