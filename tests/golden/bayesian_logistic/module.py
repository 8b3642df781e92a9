"""BayesianLogistic: emitted by vispec from bayesian_logistic.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=4, gradient=stl)


    w  elbo(samples=4, gradient=stl); shared by all rows; guide Normal
    b  elbo(samples=4, gradient=stl); shared by all rows; guide Normal
    y  data; given by the data
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# draws.reparameterised: through_the_draw
# heap: keep_pages
# sums.logsum: GradientAlone
# sums.logsum: gradient_alone
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


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
            raw = softplus_inverse(value)
            self.raw_w_scale.copy_(in_domain(raw, F.softplus(raw), value))

    @property
    def b_scale(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_b_scale)

    @b_scale.setter
    def b_scale(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_b_scale.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        w, b, _ = self.shared() if shared is None else shared
        y = batch["y"]  # (n, D)
        total = F.linear(y, w, b)  # (n, s*)
        x = batch["x"]  # (n,)
        log_x = bernoulli_log_prob(x[:, None], total)  # (n, s*)
        return log_x.mean(-1)  # (n,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """w (s*, D); b (s*); log p − log q of all that rows share."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        noise_w = self.one.new_empty(4, self.D).normal_()  # (s*, D)
        w = self.w_loc + w_scale * noise_w  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        noise_b = self.one.new_empty(4).normal_()  # (s*,)
        b = self.b_loc + b_scale * noise_b  # (s*,)
        log_w_over_D = normal_vector_log_prob(w, self.w_loc.detach(), w_scale.detach())  # (s*,)
        log_q_w = through_the_draw(log_w_over_D)  # (s*,)
        log_p_w = standard_normal_vector_log_prob(w)  # (s*,)
        ratio = (log_p_w - log_q_w).mean(-1)
        log_b = normal_log_prob(b, self.b_loc.detach(), b_scale.detach())  # (s*,)
        log_q_b = through_the_draw(log_b)  # (s*,)
        log_p_b = normal_log_prob(b, self.one * 0.0, self.one * 3.0)  # (s*,)
        ratio_2 = (log_p_b - log_q_b).mean(-1)
        log_ratio = ratio + ratio_2
        return w, b, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n);
        what all rows share is drawn with each sample and adds nothing."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        noise_w = self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        w = self.w_loc + w_scale * noise_w  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        noise_b = self.one.new_empty(samples).normal_()  # (s*,)
        y = batch["y"]  # (n, D)
        total = F.linear(y, w, b_scale * noise_b) + self.b_loc  # (n, s*)
        x = batch["x"]  # (n,)
        log_x = bernoulli_log_prob(x[:, None], total)  # (n, s*)
        return log_x.T  # (s*, n)

    @torch.no_grad()
    def draws(self, batch: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Posterior draws, from the guides: w (s*, D); b (s*)."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        noise_w = self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        w = self.w_loc + w_scale * noise_w  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        noise_b = self.one.new_empty(samples).normal_()  # (s*,)
        b = self.b_loc + b_scale * noise_b  # (s*,)
        return {"w": w, "b": b}

    @torch.no_grad()
    def shared_draws(self, samples: int) -> dict[str, Tensor]:
        """Draws of what all rows share, w (s*, D); b (s*), and of each draw log p and log q (s*)."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        noise_w = self.one.new_empty(samples, self.D).normal_()  # (s*, D)
        w = self.w_loc + w_scale * noise_w  # (s*, D)
        b_scale = F.softplus(self.raw_b_scale)
        noise_b = self.one.new_empty(samples).normal_()  # (s*,)
        b = self.b_loc + b_scale * noise_b  # (s*,)
        log_p_w = standard_normal_vector_log_prob(w)  # (s*,)
        log_p_b = normal_log_prob(b, self.one * 0.0, self.one * 3.0)  # (s*,)
        log_q_w = normal_vector_log_prob(w, self.w_loc, w_scale)  # (s*,)
        log_q_b = normal_log_prob(b, self.b_loc, b_scale)  # (s*,)
        return {"w": w, "b": b, "(log_p)": log_p_w + log_p_b, "(log_q)": log_q_w + log_q_b}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of w, b; drawn latents are read at their locations."""
        w_scale = F.softplus(self.raw_w_scale)  # (D,)
        b_scale = F.softplus(self.raw_b_scale)
        return {"w": {"loc": self.w_loc, "scale": w_scale}, "b": {"loc": self.b_loc, "scale": b_scale}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        w: real[D], ().
        b: real, ().
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        w, b, _ = self.shared()
        w_ = w[0]  # (D,)
        b_ = b[0]
        y = batch["y"]  # (n, D)
        product = y @ w_  # (n,)
        x = decide(torch.distributions.Bernoulli(logits=product + b_).expand((n,)), rule, False)  # (n,)
        return {"w": w_, "b": b_, "y": y, "x": x}

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

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
