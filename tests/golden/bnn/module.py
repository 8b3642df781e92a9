"""Bnn: emitted by vispec from bnn.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log p = log_x

    noise  elbo(samples=1); shared by all rows; guide LogNormal
    y      data; given by the data
    x      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gamma_log_prob(value: torch.Tensor, concentration: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
    """log Gamma(value; concentration, rate), elementwise; -inf at and below 0."""
    inside = value > 0
    positive, concentration, rate = torch.where(inside, value, 1.0).double(), concentration.double(), rate.double()
    kernel = (concentration - 1) * positive.log() - rate * positive
    found = kernel + (concentration * rate.log() - torch.lgamma(concentration))
    return torch.where(inside, found.to(value.dtype), -torch.inf)


def into_positive(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """exp(x), and the logarithm of its derivative, elementwise."""
    return x.exp(), x


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def softplus_inverse(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0."""
    return y + torch.log(-torch.expm1(-y))


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


class RandomWeights(nn.Module):
    """A layer whose weights, and biases if any, have the guide N(weight, softplus(raw_scale)²) and the prior N(loc, scale²)."""

    loc: float
    scale: float

    def kl(self) -> Tensor:
        """KL(guide ‖ prior) of all weights (), in nats."""
        raw = {name: value for name, value in self.named_parameters(recurse=False) if name.startswith("raw_")}
        means = [self.get_parameter(name.removeprefix("raw_").removesuffix("_scale")) for name in raw]
        parts = [self.kl_of(mean, F.softplus(value)).sum() for mean, value in zip(means, raw.values(), strict=True)]
        return torch.stack(parts).sum()

    def kl_of(self, mean: Tensor, deviation: Tensor) -> Tensor:
        ratio = deviation / self.scale
        return 0.5 * (ratio.square() + ((mean - self.loc) / self.scale).square() - 1) - ratio.log()


class RandomLinear(nn.Linear, RandomWeights):
    """x Wᵀ + b for weights drawn anew for every row, by drawing the outputs (local reparameterisation, Kingma et al. 2015)."""

    def __init__(self, inputs: int, outputs: int, loc: float, scale: float, bias: bool = True):
        super().__init__(inputs, outputs, bias)
        self.loc, self.scale = loc, scale
        self.raw_weight_scale = nn.Parameter(torch.full_like(self.weight, -4.0))
        self.raw_bias_scale = nn.Parameter(torch.full_like(self.bias, -4.0)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        mean = F.linear(x, self.weight, self.bias)
        of_bias = None if self.raw_bias_scale is None else F.softplus(self.raw_bias_scale).square()
        variance = F.linear(x.square(), F.softplus(self.raw_weight_scale).square(), of_bias)
        if of_bias is None:  # all of x may be 0, where the square root has no gradient
            variance = variance.clamp(min=torch.finfo(variance.dtype).tiny)
        return mean + variance.sqrt() * torch.randn_like(mean)


def kl_of_weights(net: nn.Module) -> Tensor:
    """KL of all random weights of a net (), in nats."""
    return torch.stack([module.kl() for module in net.modules() if isinstance(module, RandomWeights)]).sum()


class FNet(nn.Module):
    """(y: real[D]) → real: mlp([50])."""

    def __init__(self, D: int):
        super().__init__()
        self.mlp = nn.Sequential(RandomLinear(D, 50, 0.0, 1.0), nn.ReLU())
        self.out = RandomLinear(50, 1, 0.0, 1.0)

    def features(self, y: Tensor) -> Tensor:
        """y (*B, D) → (*B, 50)."""
        return self.mlp(y)

    def forward(self, y: Tensor) -> Tensor:
        """(*B)."""
        return self.out(self.features(y)).squeeze(-1)


class Bnn(nn.Module):
    """Batch: y (n, D) real[D]; x (n) real."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, D: int):
        super().__init__()
        self.noise_loc = nn.Parameter(0.1 * torch.randn(()))
        self.raw_noise_scale = nn.Parameter(torch.full((), -2.252))
        self.f = FNet(D)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def noise_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_noise_scale)

    @noise_scale.setter
    def noise_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_noise_scale.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=1)."""
        noise, _ = self.shared() if shared is None else shared
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n,)
        return normal_log_prob(x, f, noise)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """noise (); log p − log q of all that rows share."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_base = self.noise_loc + noise_scale * torch.randn_like(self.noise_loc)
        noise, gain_noise = into_positive(noise_base)  # ()
        log_p_noise = gamma_log_prob(noise, (self.one * 6), (self.one * 6))
        log_base_noise = normal_log_prob(noise_base, self.noise_loc, noise_scale)
        log_q_noise = log_base_noise - gain_noise
        log_ratio_noise = log_p_noise - log_q_noise
        kl_f = kl_of_weights(self.f)
        log_ratio = log_ratio_noise - kl_f
        return noise, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n); what all rows share is drawn with each sample and adds nothing."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_base = self.noise_loc + noise_scale * self.one.new_empty(samples).normal_()  # (s*,)
        noise, gain_noise = into_positive(noise_base)  # (s*,)
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        y_2 = y.expand(samples, *y.shape)  # (s*, n, D)
        f = self.f(y_2)  # (s*, n)
        log_x = normal_log_prob(x, f, noise[:, None])  # (s*, n)
        return log_x

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        noise: positive, ().
        """
        noise_scale = F.softplus(self.raw_noise_scale)
        return {"noise": {"loc": self.noise_loc, "scale": noise_scale}}

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides, of what rows share and of what each row has: noise (s*,)."""
        noise_scale = F.softplus(self.raw_noise_scale)
        noise_base = self.noise_loc + noise_scale * self.one.new_empty(samples).normal_()  # (s*,)
        noise, gain_noise = into_positive(noise_base)  # (s*,)
        return {"noise": noise}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        noise, _ = self.shared()
        y = batch["y"]  # (n, D)
        f = self.f(y)  # (n,)
        x = decide(torch.distributions.Normal(loc=f, scale=noise).expand((n,)), rule, False)  # (n,)
        return {"noise": noise, "y": y, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
