"""BayesianLogistic: emitted by vispec from bayesian_logistic.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=4, gradient=stl)

    log p = log_x

    w  elbo(samples=4, gradient=stl); shared by all rows; guide Normal
    b  elbo(samples=4, gradient=stl); shared by all rows; guide Normal
    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


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


def through_the_draw(log_q: Tensor) -> Tensor:
    """log q, of which the gradient leaves the guide's parameters out, so that it has no derivative of its own."""
    return log_q.detach() + gradient_alone(log_q)


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


class BayesianLogistic(nn.Module):
    """Batch: y (n, D) real[D]; x (n) bit."""

    exact = False
    estimator = "elbo(samples=4, gradient=stl)"

    def __init__(self, D: int):
        super().__init__()
        self.D = D
        self.w_loc = nn.Parameter(0.1 * torch.randn(D))  # (D)
        self.raw_w_scale = nn.Parameter(torch.full((D,), -2.252))  # (D)
        self.b_loc = nn.Parameter(0.3 * torch.randn(()))
        self.raw_b_scale = nn.Parameter(torch.full((), -1.05))
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

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (n,), in nats: elbo(samples=4, gradient=stl)."""
        w, b, _ = self.shared() if shared is None else shared
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        dot = F.linear(w, y)  # (s*, n)
        value = dot + b[:, None]  # (s*, n)
        log_x = -F.binary_cross_entropy_with_logits(value, x.expand_as(value), reduction="none")  # (s*, n)
        return log_x.mean(0)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """w (s*, D); b (s*,); log p − log q of all that rows share."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(4, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(4).normal_()  # (s*,)
        log_p_w = standard_normal_vector_log_prob(w)  # (s*,)
        w_loc_held = self.w_loc.detach()  # (D,)
        raw_w_scale_held = self.raw_w_scale.detach()  # (D,)
        w_scale_held = F.softplus(raw_w_scale_held)  # (D,)
        log_q_w = normal_vector_log_prob(w, w_loc_held, w_scale_held)  # (s*,)
        log_q_w_2 = through_the_draw(log_q_w)  # (s*,)
        log_ratio_w = log_p_w - log_q_w_2  # (s*,)
        part = log_ratio_w.mean(0)
        log_p_b = normal_log_prob(b, (self.one * 0), (self.one * 3))  # (s*,)
        b_loc_held = self.b_loc.detach()
        raw_b_scale_held = self.raw_b_scale.detach()
        b_scale_held = F.softplus(raw_b_scale_held)
        log_q_b = normal_log_prob(b, b_loc_held, b_scale_held)  # (s*,)
        log_q_b_2 = through_the_draw(log_q_b)  # (s*,)
        log_ratio_b = log_p_b - log_q_b_2  # (s*,)
        part_2 = log_ratio_b.mean(0)
        log_ratio = part + part_2
        return w, b, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n); what all rows share is drawn with each sample and adds nothing."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(samples).normal_()  # (s*,)
        x = batch["x"]  # (n,)
        y = batch["y"]  # (n, D)
        dot = F.linear(w, y)  # (s*, n)
        value = dot + b[:, None]  # (s*, n)
        log_x = -F.binary_cross_entropy_with_logits(value, x.expand_as(value), reduction="none")  # (s*, n)
        return log_x

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        w: real[D], ().
        b: real, ().
        """
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        b_scale = F.softplus(self.raw_b_scale)
        return {"w": {"loc": self.w_loc, "scale": w_scale}, "b": {"loc": self.b_loc, "scale": b_scale}}

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides, of what rows share and of what each row has: w (s*, D); b (s*,)."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        w = self.w_loc + w_scale * self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        b = self.b_loc + b_scale * self.one.new_empty(samples).normal_()  # (s*,)
        return {"w": w, "b": b}

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        w, b, _ = self.shared()
        y = batch["y"]  # (n, D)
        dot = F.linear(w[0], y)  # (n,)
        value = dot + b[0]  # (n,)
        x = decide(torch.distributions.Bernoulli(logits=value).expand((n,)), rule, False)  # (n,)
        return {"w": w[0], "b": b[0], "y": y, "x": x}

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
        rows, kinds = len(batch["y"]), {"x": "bit"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
