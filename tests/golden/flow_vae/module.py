"""FlowVae: emitted by vispec from flow_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log p = ratio_z + log_x

    z  elbo(samples=1); continuous; guide Flow, whose divergence is estimated at its draws
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


class NormalVectorLogProb(torch.autograd.Function):
    """Σ_d log N(value_d; loc_d, scale_d²) (*B): value, loc and scale broadcast to (*B, D).

    Instead of four tensors (*B, D) of autograd's, it makes one for the gradient, and one of residuals in units of the scale,
    which it returns too.
    """

    @staticmethod
    def forward(ctx, value, loc, scale):
        residual = value - loc
        fits = scale.shape == residual.shape[residual.dim() - scale.dim() :]  # broadcast_shapes takes its time
        residual = residual.div_(scale) if fits else residual / scale  # (*B, D)
        ctx.save_for_backward(residual, scale)
        ctx.shapes = value.shape, loc.shape, scale.shape
        distance = torch.linalg.vector_norm(residual, dim=-1).square_()
        log_scale = scale.log().expand(*scale.shape[:-1], residual.shape[-1]).sum(-1)
        ctx.set_materialize_grads(False)
        found = distance.mul_(-0.5).sub_(log_scale).sub_(0.9189385332046727 * residual.shape[-1])  # log(2π) / 2
        return found, residual

    @staticmethod
    def backward(ctx, grad, by_residual):
        residual, scale = ctx.saved_tensors
        value_shape, loc_shape, scale_shape = ctx.shapes
        grad = residual.new_zeros(residual.shape[:-1]) if grad is None else grad
        weighted = residual * grad[..., None]  # (*B, D)
        weighted = weighted if by_residual is None else weighted - by_residual
        by_scale = None
        if ctx.needs_input_grad[2]:
            size = scale_shape[-1] if scale_shape else 1
            once = grad[..., None].sum_to_size((*scale_shape[:-1], 1) if scale_shape else ()) * (residual.shape[-1] // size)
            by_scale = (weighted * residual).sum_to_size(scale_shape).sub_(once).div_(scale)
        by_loc = weighted / scale if torch.is_grad_enabled() else weighted.div_(scale)
        by_value = by_loc.neg().sum_to_size(value_shape) if ctx.needs_input_grad[0] else None
        return by_value, by_loc.sum_to_size(loc_shape) if ctx.needs_input_grad[1] else None, by_scale


def standard_normal_vector_log_prob(value: Tensor) -> Tensor:
    """Σ_d log N(value_d; 0, 1): (*B, D) → (*B)."""
    return value.square().sum(-1) * -0.5 - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


def normal_vector_log_prob(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d log N(value_d; loc_d, scale_d²), broadcast: (*B, D) each → (*B)."""
    return NormalVectorLogProb.apply(value, loc, scale)[0]


class Decode(nn.Module):
    """(z: real[Z]) → unit[784]: mlp([400])."""

    def __init__(self, Z: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(Z, 400), nn.ReLU())
        self.out = nn.Linear(400, 784)

    def features(self, z: Tensor) -> Tensor:
        """z (*B, Z) → (*B, 400)."""
        return self.mlp(z)

    def forward(self, z: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(z))


class Encode(nn.Module):
    """(x: bit[784]) → (loc: real[Z], scale: positive[Z], context: real[H]): mlp([400])."""

    def __init__(self, Z: int, H: int):
        super().__init__()
        self.Z = Z
        self.H = H
        self.mlp = nn.Sequential(nn.Linear(784, 400), nn.ReLU())
        self.out = nn.Linear(400, 2 * Z + H)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 400)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, Z), scale (*B, Z) before softplus, context (*B, H)."""
        loc, scale, context = self.out(self.features(x)).split((self.Z, self.Z, self.H), -1)
        return loc, scale.contiguous(), context  # torch's softplus is slow on slices


class FlowVae(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, Z: int = 20, H: int = 64):
        super().__init__()
        self.Z = Z
        self.decode = Decode(Z)
        self.encode = Encode(Z, H)
        self.z_flow = AutoregressiveLayers(Z, layers=2, hidden=64, context=H)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=1)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z_base = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (n, Z)
        z, gain_z = self.z_flow(z_base, encode_context)  # (n, Z), (n,)
        log_p_z = standard_normal_vector_log_prob(z)  # (n,)
        log_base_z = normal_vector_log_prob(z_base, encode_loc, encode_scale)  # (n,)
        log_q_z = log_base_z - gain_z  # (n,)
        log_ratio_z = log_p_z - log_q_z  # (n,)
        decode = self.decode(z)  # (n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x, reduction="none").sum(-1)  # (n,)
        return log_ratio_z + log_x  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z_base = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z, gain_z = self.z_flow(z_base, encode_context)  # (s*, n, Z), (s*, n)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_base_z = normal_vector_log_prob(z_base, encode_loc, encode_scale)  # (s*, n)
        log_q_z = log_base_z - gain_z  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        decode = self.decode(z)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        log_prob = log_ratio_z + log_x  # (s*, n)
        return log_prob

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides: z (s*, n, Z)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z_base = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z, gain_z = self.z_flow(z_base, encode_context)  # (s*, n, Z), (s*, n)
        return {"z": z}

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of z: log p − log q (samples, n) at draws from the guide, and the draws.

        Draws have the samples and the rows first; None stands for categories, and where rows differ in length.
        """
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw, encode_context = self.encode(x)  # (n, Z)
        encode_scale = F.softplus(encode_scale_raw)  # (n, Z)
        z_base = encode_loc + encode_scale * self.one.new_empty(samples, x.shape[0], self.Z).normal_()  # (s*, n, Z)
        z, gain_z = self.z_flow(z_base, encode_context)  # (s*, n, Z), (s*, n)
        log_p_z = standard_normal_vector_log_prob(z)  # (s*, n)
        log_base_z = normal_vector_log_prob(z_base, encode_loc, encode_scale)  # (s*, n)
        log_q_z = log_base_z - gain_z  # (s*, n)
        log_ratio_z = log_p_z - log_q_z  # (s*, n)
        return {"z": (log_ratio_z, z)}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        z = decide(torch.distributions.Normal(loc=(self.one * 0), scale=(self.one * 1)).expand((n, self.Z,)), "sample", True)  # (n, Z)
        decode = self.decode(z)  # (n, 784)
        x = decide(torch.distributions.Bernoulli(logits=decode).expand((n, 784,)), rule, False)  # (n, 784)
        return {"z": z, "x": x}

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
