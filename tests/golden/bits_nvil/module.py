"""BitsNvil: emitted by vispec from bits_nvil.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, score(samples=4, baseline=nvil)

    log p = ratio_b + log_x

    b  score(samples=4, baseline=nvil); discrete; guide Bernoulli
    x  data; scored at the data
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


def signal_of(weight: Tensor, baseline: Tensor | float) -> Tensor:
    """What a draw is worth beside its baseline, without gradient; 0 where it is impossible."""
    return torch.where(weight == -torch.inf, 0.0, weight - baseline).detach()


def mean_possible(weight: Tensor) -> Tensor:
    """The mean over the first dimension of what is not -inf, without gradient; 0 where all is."""
    some = weight.detach() != -torch.inf
    return torch.where(some, weight.detach(), 0.0).sum(0) / some.sum(0).clamp(min=1)


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The mean of the log-weights, each sample's signal less its baseline."""
    return (impossible_alone(weight) + signal_of(weight, baseline) * gradient_alone(log_q)).mean(0)


def score_bound_nvil(weight: Tensor, log_q: Tensor, baseline: Tensor) -> Tensor:
    """Against a net's guess (B,) from the data, which learns to predict the log-weight (Mnih and Gregor 2014)."""
    possible = (weight != -torch.inf).any(0)
    return score_bound(weight, log_q, baseline) - torch.where(possible, regression(mean_possible(weight), baseline), 0.0)


def regression(target: Tensor, guess: Tensor) -> Tensor:
    """0, with the gradient of half the squared error of a guess."""
    return gradient_alone(0.5 * (target.detach() - guess).square())


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


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


class Decode(nn.Module):
    """(b: bit[B]) → unit[784]: linear(784)."""

    def __init__(self, B: int):
        super().__init__()
        self.linear = nn.Linear(B, 784)
        self.out = nn.Linear(784, 784)

    def features(self, b: Tensor) -> Tensor:
        """b (*B, B) → (*B, 784)."""
        return self.linear(b)

    def forward(self, b: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(b))


class Encode(nn.Module):
    """(x: bit[784]) → unit[B]: mlp([200])."""

    def __init__(self, B: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 200), nn.ReLU())
        self.out = nn.Linear(200, B)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 200)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B, B) log-odds."""
        return self.out(self.features(x))


class Baseline(nn.Module):
    """(x: bit[784]) → real: mlp([128])."""

    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 128), nn.ReLU())
        self.out = nn.Linear(128, 1)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 128)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(x)).squeeze(-1)


class BitsNvil(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "score(samples=4, baseline=nvil)"

    def __init__(self, B: int = 200):
        super().__init__()
        self.B = B
        self.raw_chance = nn.Parameter(torch.zeros(B))  # (B)
        self.decode = Decode(B)
        self.encode = Encode(B)
        self.baseline = Baseline()
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def chance(self) -> Tensor:
        """unit[B]."""
        return torch.sigmoid(self.raw_chance)

    @chance.setter
    def chance(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_chance.copy_(torch.logit(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: score(samples=4, baseline=nvil)."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((4, x.shape[0], self.B,)).sample()  # (s*, n, B)
        log_p_b = bernoulli_log_prob(b, self.raw_chance).sum(-1)  # (s*, n)
        log_q_b = bernoulli_log_prob(b, encode).sum(-1)  # (s*, n)
        log_ratio_b = log_p_b - log_q_b  # (s*, n)
        decode = self.decode(b)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        log_prob = log_ratio_b + log_x  # (s*, n)
        baseline = self.baseline(x)  # (n,)
        return score_bound_nvil(log_prob, log_q_b, baseline)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.B,)).sample()  # (s*, n, B)
        log_p_b = bernoulli_log_prob(b, self.raw_chance).sum(-1)  # (s*, n)
        log_q_b = bernoulli_log_prob(b, encode).sum(-1)  # (s*, n)
        log_ratio_b = log_p_b - log_q_b  # (s*, n)
        decode = self.decode(b)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        log_prob = log_ratio_b + log_x  # (s*, n)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        b: bit[B], (n).
        """
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        encode_prob = torch.sigmoid(encode)  # (n, B)
        return {"b": {"probs": encode_prob}}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of b: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, 784)
        encode = self.encode(x)  # (n, B)
        b = torch.distributions.Bernoulli(logits=encode).expand((samples, x.shape[0], self.B,)).sample()  # (s*, n, B)
        log_p_b = bernoulli_log_prob(b, self.raw_chance).sum(-1)  # (s*, n)
        log_q_b = bernoulli_log_prob(b, encode).sum(-1)  # (s*, n)
        log_ratio_b = log_p_b - log_q_b  # (s*, n)
        return {"b": (log_ratio_b, b)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        b = decide(torch.distributions.Bernoulli(logits=self.raw_chance).expand((n, self.B,)), "sample", True)  # (n, B)
        decode = self.decode(b)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784,)), rule, False)  # (n, 784)
        return {"b": b, "x": x}

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
