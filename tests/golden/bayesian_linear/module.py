"""BayesianLinear: emitted by vispec from bayesian_linear.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=4)

    log p = log_x

    w      elbo(samples=4); shared by all rows; guide Normal
    b      elbo(samples=4); shared by all rows; guide Normal
    noise  elbo(samples=4); shared by all rows; guide LogNormal
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


def kl_normal_standard(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale²) ‖ N(0, 1)) = ½(scale² + loc² − 1) − log scale."""
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


class KlNormalStandard(torch.autograd.Function):
    """The sum of `kl_normal_standard` over the last dimension: (*B, D) each → (*B). A dozen small operations fewer."""

    @staticmethod
    def forward(ctx, loc, scale):
        ctx.save_for_backward(loc, scale)
        terms = scale.log().addcmul_(loc, loc, value=-0.5).addcmul_(scale, scale, value=-0.5)
        return torch.rsub(terms.sum(-1), -0.5 * loc.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        loc, scale = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return loc * grad, (scale - scale.reciprocal()).mul_(grad)


def kl_normal_standard_vector(loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d KL(N(loc_d, scale_d²) ‖ N(0, 1)): loc and scale (*B, D) → (*B)."""
    return KlNormalStandard.apply(loc, scale)


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class BayesianLinear(nn.Module):
    """Batch: y (n, D) real[D]; x (n) real."""

    exact = False
    estimator = "elbo(samples=4)"

    def __init__(self, D: int):
        super().__init__()
        self.D = D
        self.w_loc = nn.Parameter(0.1 * torch.randn(D))  # (D)
        self.raw_w_scale = nn.Parameter(torch.full((D,), -2.252))  # (D)
        self.b_loc = nn.Parameter(0.1 * torch.randn(()))
        self.raw_b_scale = nn.Parameter(torch.full((), -2.252))
        self.noise_loc = nn.Parameter(0.1 * torch.randn(()))
        self.raw_noise_scale = nn.Parameter(torch.full((), -2.252))
        self.noise_with_b = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def w_scale(self) -> Tensor:
        """positive[D]."""
        return F.softplus(self.raw_w_scale)

    @w_scale.setter
    def w_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_w_scale.copy_(softplus_inverse(value))

    @property
    def b_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_b_scale)

    @b_scale.setter
    def b_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_b_scale.copy_(softplus_inverse(value))

    @property
    def noise_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_noise_scale)

    @noise_scale.setter
    def noise_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            self.raw_noise_scale.copy_(softplus_inverse(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=4)."""
        w, b, noise, _ = self.shared() if shared is None else shared
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        dot = F.linear(w, y)  # (s*, n)
        value = dot + b[:, None]  # (s*, n)
        log_x = normal_log_prob(x, value, noise[:, None])  # (s*, n)
        return log_x.mean(0)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """w (s*, D); b (s*,); noise (s*,); log p − log q of all that rows share."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(4, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(4).normal_()  # (s*,)
        noise_scale = F.softplus(self.raw_noise_scale)
        value = b - self.b_loc  # (s*,)
        value_2 = value / b_scale  # (s*,)
        value_3 = self.noise_with_b * value_2  # (s*,)
        value_4 = noise_scale * value_3  # (s*,)
        value_5 = self.noise_loc + value_4  # (s*,)
        noise_base = value_5 + noise_scale * torch.randn_like(value_5)  # (s*,)
        noise, gain_noise = into_positive(noise_base)  # (s*,)
        kl_w = kl_normal_standard_vector(self.w_loc, w_scale)
        kl_b = kl_normal_standard(self.b_loc, b_scale)
        log_p_noise = gamma_log_prob(noise, (self.one * 2), (self.one * 2))  # (s*,)
        log_base_noise = normal_log_prob(noise_base, value_5, noise_scale)  # (s*,)
        log_q_noise = log_base_noise - gain_noise  # (s*,)
        log_ratio_noise = log_p_noise - log_q_noise  # (s*,)
        part = log_ratio_noise.mean(0)
        log_ratio = part - kl_w - kl_b
        return w, b, noise, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n); what all rows share is drawn with each sample and adds nothing."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(samples).normal_()  # (s*,)
        noise_scale = F.softplus(self.raw_noise_scale)
        value = b - self.b_loc  # (s*,)
        value_2 = value / b_scale  # (s*,)
        value_3 = self.noise_with_b * value_2  # (s*,)
        value_4 = noise_scale * value_3  # (s*,)
        value_5 = self.noise_loc + value_4  # (s*,)
        noise_base = value_5 + noise_scale * torch.randn_like(value_5)  # (s*,)
        noise, gain_noise = into_positive(noise_base)  # (s*,)
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        dot = F.linear(w, y)  # (s*, n)
        value_6 = dot + b[:, None]  # (s*, n)
        log_x = normal_log_prob(x, value_6, noise[:, None])  # (s*, n)
        return log_x

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        w: real[D], ().
        b: real, ().
        noise: positive, ().
        """
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        b_scale = F.softplus(self.raw_b_scale)
        noise_scale = F.softplus(self.raw_noise_scale)
        value = self.b_loc - self.b_loc
        value_2 = value / b_scale
        value_3 = self.noise_with_b * value_2
        value_4 = noise_scale * value_3
        value_5 = self.noise_loc + value_4
        return {"w": {"loc": self.w_loc, "scale": w_scale}, "b": {"loc": self.b_loc, "scale": b_scale}, "noise": {"loc": value_5, "scale": noise_scale}}

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides, of what rows share and of what each row has: w (s*, D); b (s*,); noise (s*,)."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(samples).normal_()  # (s*,)
        noise_scale = F.softplus(self.raw_noise_scale)
        value = b - self.b_loc  # (s*,)
        value_2 = value / b_scale  # (s*,)
        value_3 = self.noise_with_b * value_2  # (s*,)
        value_4 = noise_scale * value_3  # (s*,)
        value_5 = self.noise_loc + value_4  # (s*,)
        noise_base = value_5 + noise_scale * torch.randn_like(value_5)  # (s*,)
        noise, gain_noise = into_positive(noise_base)  # (s*,)
        return {"w": w, "b": b, "noise": noise}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        w, b, noise, _ = self.shared()
        y = batch["y"]  # (n, D)
        dot = F.linear(w[0], y)  # (n,)
        value = dot + b[0]  # (n,)
        x = decide(torch.distributions.Normal(loc=value, scale=noise[0]).expand((n,)), rule, False)  # (n,)
        return {"w": w[0], "b": b[0], "noise": noise[0], "y": y, "x": x}

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
