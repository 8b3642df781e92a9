"""EightSchools: emitted by vispec from eight_schools.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=32)

    log p = kl_eta + log_y

    mu     elbo(samples=32); shared by all rows; guide flow over mu, tau
    tau    elbo(samples=32); shared by all rows; guide flow over mu, tau
    sigma  data; given by the data
    eta    elbo(samples=32); continuous; guide Normal
    y      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def half_cauchy_log_prob(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log 2 / π - log scale - log(1 + (value / scale)²), elementwise; -inf below 0."""
    density = -0.45158270528945486 - scale.log() - torch.log1p((value / scale).square())  # log(2 / π)
    return torch.where(value >= 0, density, -torch.inf)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


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


class MaskedLinear(nn.Linear):
    """A linear map whose outputs of group i read inputs of groups below i, and of group i too where `same`."""

    mask: Tensor

    def __init__(self, inputs: Tensor, outputs: Tensor, same: bool):
        super().__init__(len(inputs), len(outputs))
        mask = outputs[:, None] >= inputs if same else outputs[:, None] > inputs
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class AutoregressiveLayer(nn.Module):
    """y_i = shift_i + scale_i (x_i + Σ_k a_ik tanh(b_ik x_i + c_ik)) with a, b, scale > 0 of x_1 … x_{i-1} by a masked net:
    increasing in x_i, so that log |∂y / ∂x| is the sum of the logarithms of ∂y_i / ∂x_i. The net reads the context too, if any.
    """

    def __init__(self, size: int, hidden: int, bumps: int, context: int = 0):
        super().__init__()
        self.size, self.bumps = size, bumps
        self.told = nn.Linear(context, hidden, bias=False) if context else None
        each = torch.arange(size)
        inner = torch.arange(hidden) % size - 1 if context else torch.arange(hidden) % max(size - 1, 1)  # -1: the context alone
        outer = each.repeat_interleave(2 + 3 * bumps)
        self.first = MaskedLinear(each, inner, same=True)
        self.second = MaskedLinear(inner, outer, same=False)
        with torch.no_grad():
            self.second.weight.mul_(0.1)
            bias = self.second.bias.view(size, 2 + 3 * bumps)
            bias.zero_()
            bias[:, 2 : 2 + bumps] = -3.0  # small bumps
            bias[:, 2 + 2 * bumps :] = torch.linspace(-2, 2, bumps) if bumps > 1 else 0.0

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (*S, D), context (*S, C) → y (*S, D) and log |∂y / ∂x| (*S)."""
        inner = self.first(x)
        if self.told is not None:
            inner = inner + self.told(context)
        found = self.second(torch.tanh(inner)).unflatten(-1, (self.size, 2 + 3 * self.bumps))
        shift, log_scale, height, slope, place = found.split([1, 1, self.bumps, self.bumps, self.bumps], -1)
        height, slope = F.softplus(height), F.softplus(slope)
        bump = torch.tanh(slope * x.unsqueeze(-1) + place)
        y = x + (height * bump).sum(-1)
        gain = (height * slope * (1 - bump.square())).sum(-1)
        log_scale = log_scale.squeeze(-1)
        return shift.squeeze(-1) + log_scale.exp() * y, (log_scale + torch.log1p(gain)).sum(-1)


class AutoregressiveLayers(nn.Module):
    """Inverse autoregressive layers (Kingma et al. 2016) with monotone maps (Huang et al. 2018), the order reversed between
    them: they carry a draw and what its log-density loses in one pass."""

    def __init__(self, size: int, layers: int, hidden: int, context: int = 0, bumps: int = 8):
        super().__init__()
        self.layers = nn.ModuleList(AutoregressiveLayer(size, hidden, bumps, context) for _ in range(layers))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (*S, D), context (*S, C) → y (*S, D) and log |∂y / ∂x| (*S)."""
        gain = x.new_zeros(x.shape[:-1])
        for layer in self.layers:
            x, more = layer(x.flip(-1), context)
            gain = gain + more
        return x, gain


def log_standard_normal(noise: Tensor) -> Tensor:
    """log N(noise; 0, I) (*S) of noise (*S, D)."""
    return -0.5 * noise.square().sum(-1) - 0.9189385332046727 * noise.shape[-1]  # log(2π) / 2


class AutoregressiveFlow(nn.Module):
    """Autoregressive layers behind standard normal noise: a draw and its density in one pass."""

    def __init__(self, size: int, layers: int, hidden: int):
        super().__init__()
        self.noise = size
        self.carry = AutoregressiveLayers(size, layers, hidden)

    def forward(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        value, gain = self.carry(noise)
        return value, log_standard_normal(noise) - gain


def kl_normal_standard(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale²) ‖ N(0, 1)) = ½(scale² + loc² − 1) − log scale."""
    return 0.5 * (scale.square() + loc.square() - 1) - scale.log()


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class Standardise(nn.Module):
    """(x − mean) / deviation for each of `width` numbers, as `learn_scales` finds them in data; before that, x itself.

    What does not vary in the data has deviation 1. mask (*B, T): which elements of x (*B, T, width) count. seen (*B, width) or
    (*B, 1): 1 for numbers that are there; the others have no part in the mean and are 0 in the result."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.learning = False

    def forward(self, x: Tensor, mask: Tensor | None = None, seen: Tensor | None = None) -> Tensor:
        if self.learning:
            self.learn(x, mask, torch.ones_like(x) if seen is None else seen)
        standard = (x - self.mean) / self.deviation
        return standard if seen is None else torch.where(seen > 0, standard, 0.0)

    def learn(self, x: Tensor, mask: Tensor | None, seen: Tensor) -> None:
        """Take the means and deviations of what counts and is there; of nothing, 0 and 1."""
        counts = (seen > 0).expand_as(x)
        if mask is not None:
            counts = counts & mask.expand(x.shape[:-1]).unsqueeze(-1)
        counts, x = counts.reshape(-1, x.shape[-1]), x.reshape(-1, x.shape[-1])
        number = counts.sum(0).clamp(min=1)
        mean = torch.where(counts, x, 0.0).sum(0) / number
        first = x.gather(0, counts.int().argmax(0, keepdim=True))
        varies = (counts & (x != first)).any(0)  # rounding may give a constant a deviation
        variance = torch.where(counts, x - mean, 0.0).square().sum(0) / number
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(varies, variance.sqrt(), 1.0))


def learn_scales(module, batch: dict[str, Tensor]) -> None:
    """Every `Standardise` of the module takes its mean and deviation from what it meets in this batch."""
    layers = [each for each in module.modules() if isinstance(each, Standardise)]
    for layer in layers:
        layer.learning = True
    module.log_prob(batch)
    for layer in layers:
        layer.learning = False


class EncodeEta(nn.Module):
    """(mu: real, log_tau: real, sigma: positive, y: real) → (loc: real, scale: positive):

    standardise(of=sigma) |> standardise(of=y) |> mlp([128])
    """

    def __init__(self):
        super().__init__()
        self.standardise_sigma = Standardise(1)
        self.standardise_y = Standardise(1)
        self.from_mu = nn.Linear(1, 128)
        self.from_log_tau = nn.Linear(1, 128, bias=False)
        self.from_sigma = nn.Linear(1, 128, bias=False)
        self.from_y = nn.Linear(1, 128, bias=False)
        self.mlp = nn.Sequential(nn.ReLU(inplace=True))
        self.out = nn.Linear(128, 2)

    def features(self, mu: Tensor, log_tau: Tensor, sigma: Tensor, y: Tensor) -> Tensor:
        """mu (*B), log_tau (*B), sigma (*B), y (*B) → (*B, 128)."""
        h = self.mlp(
            self.from_mu(mu.unsqueeze(-1))
            + self.from_log_tau(log_tau.unsqueeze(-1))
            + self.from_sigma(self.standardise_sigma(sigma.unsqueeze(-1)))
            + self.from_y(self.standardise_y(y.unsqueeze(-1))),
        )  # (*B, 128)
        return h

    def forward(self, mu: Tensor, log_tau: Tensor, sigma: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """loc (*B), scale (*B) before softplus."""
        loc, scale = self.out(self.features(mu, log_tau, sigma, y)).unbind(-1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class EightSchools(nn.Module):
    """Batch: sigma (school) positive; y (school) real."""

    exact = False
    estimator = "elbo(samples=32)"

    def __init__(self):
        super().__init__()
        self.encode_eta = EncodeEta()
        self.joint_guide = AutoregressiveFlow(2, layers=2, hidden=32)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (school,), in nats: elbo(samples=32)."""
        mu, tau, _ = self.shared() if shared is None else shared
        log = torch.log(tau)  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu[:, None], log[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        kl_eta = kl_normal_standard(encode_eta_loc, encode_eta_scale)  # (s*, school)
        value = tau[:, None] * eta  # (s*, school)
        value_2 = mu[:, None] + value  # (s*, school)
        log_y = normal_log_prob(y, value_2, sigma)  # (s*, school)
        log_prob = log_y - kl_eta  # (s*, school)
        return log_prob.mean(0)  # (school,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """mu (s*,); tau (s*,); log p − log q of all that rows share."""
        joint, log_q = self.joint_guide(self.one.new_empty(32, self.joint_guide.noise).normal_())  # (s*, D), (s*)
        raw_mu, raw_tau = joint.split([1, 1], -1)
        mu = raw_mu.squeeze(-1)  # (s*,)
        tau = raw_tau.squeeze(-1).exp()  # (s*,)
        log_q_joint = log_q - raw_tau.sum(-1)  # (s*,)
        log_p_mu = normal_log_prob(mu, (self.one * 0), (self.one * 5))  # (s*,)
        part = log_p_mu.mean(0)
        log_p_tau = half_cauchy_log_prob(tau, (self.one * 5))  # (s*,)
        part_2 = log_p_tau.mean(0)
        minus_log_q = -log_q_joint  # (s*,)
        part_3 = minus_log_q.mean(0)
        log_ratio = part + part_2 + part_3
        return mu, tau, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, school); what all rows share is drawn with each sample and adds nothing."""
        joint, log_q = self.joint_guide(self.one.new_empty(samples, self.joint_guide.noise).normal_())  # (s*, D), (s*)
        raw_mu, raw_tau = joint.split([1, 1], -1)
        mu = raw_mu.squeeze(-1)  # (s*,)
        tau = raw_tau.squeeze(-1).exp()  # (s*,)
        log = torch.log(tau)  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu[:, None], log[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        log_p_eta = normal_log_prob(eta, (self.one * 0), (self.one * 1))  # (s*, school)
        log_q_eta = normal_log_prob(eta, encode_eta_loc, encode_eta_scale)  # (s*, school)
        log_ratio_eta = log_p_eta - log_q_eta  # (s*, school)
        value = tau[:, None] * eta  # (s*, school)
        value_2 = mu[:, None] + value  # (s*, school)
        log_y = normal_log_prob(y, value_2, sigma)  # (s*, school)
        log_prob = log_ratio_eta + log_y  # (s*, school)
        return log_prob

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        eta: real, (school).
        """
        joint, log_q = self.joint_guide(self.one.new_zeros(self.joint_guide.noise))  # (D), ()
        raw_mu, raw_tau = joint.split([1, 1], -1)
        mu_2 = raw_mu.squeeze(-1)
        tau_2 = raw_tau.squeeze(-1).exp()
        log = torch.log(tau_2)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu_2, log, sigma, y)  # (school,)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (school,)
        return {"eta": {"loc": encode_eta_loc, "scale": encode_eta_scale}}

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides, of what rows share and of what each row has: mu (s*,); tau (s*,); eta (s*, school); theta (s*, school)."""
        joint, log_q = self.joint_guide(self.one.new_empty(samples, self.joint_guide.noise).normal_())  # (s*, D), (s*)
        raw_mu, raw_tau = joint.split([1, 1], -1)
        mu = raw_mu.squeeze(-1)  # (s*,)
        tau = raw_tau.squeeze(-1).exp()  # (s*,)
        log = torch.log(tau)  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu[:, None], log[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        value = tau[:, None] * eta  # (s*, school)
        value_2 = mu[:, None] + value  # (s*, school)
        return {"mu": mu, "tau": tau, "eta": eta, "theta": value_2}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of eta: log p − log q (samples, school) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        joint, log_q = self.joint_guide(self.one.new_empty(samples, self.joint_guide.noise).normal_())  # (s*, D), (s*)
        raw_mu, raw_tau = joint.split([1, 1], -1)
        mu = raw_mu.squeeze(-1)  # (s*,)
        tau = raw_tau.squeeze(-1).exp()  # (s*,)
        log = torch.log(tau)  # (s*,)
        sigma = batch["sigma"]  # (school,)
        y = batch["y"]  # (school,)
        encode_eta_loc, encode_eta_scale_raw = self.encode_eta(mu[:, None], log[:, None], sigma, y)  # (s*, school)
        encode_eta_scale = F.softplus(encode_eta_scale_raw)  # (s*, school)
        eta = encode_eta_loc + encode_eta_scale * torch.randn_like(encode_eta_loc)  # (s*, school)
        log_p_eta = normal_log_prob(eta, (self.one * 0), (self.one * 1))  # (s*, school)
        log_q_eta = normal_log_prob(eta, encode_eta_loc, encode_eta_scale)  # (s*, school)
        log_ratio_eta = log_p_eta - log_q_eta  # (s*, school)
        return {"eta": (log_ratio_eta, eta)}

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Standardise by it."""
        learn_scales(self, batch)

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        mu, tau, _ = self.shared()
        sigma = batch["sigma"]  # (school,)
        eta = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n,)), "sample", True)  # (school,)
        value = tau[0] * eta  # (school,)
        value_2 = mu[0] + value  # (school,)
        y = decide(torch.distributions.Normal(loc=value_2, scale=sigma).expand((n,)), rule, False)  # (school,)
        return {"mu": mu[0], "tau": tau[0], "sigma": sigma, "eta": eta, "y": y}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds sigma.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["sigma"]), {"y": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
