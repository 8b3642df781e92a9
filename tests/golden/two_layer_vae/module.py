"""TwoLayerVae: emitted by vispec from two_layer_vae.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, iwae(samples=5)

    total = product of ratio_top, ratio_low, log_x

    top  iwae(samples=5); continuous; guide Normal
    low  iwae(samples=5); continuous; guide Normal
    x    data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# heap: keep_pages
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Lower(nn.Module):
    """(top: real[TOP]) → (loc: real[LOW], scale: positive[LOW]): mlp([100, 100], activation=tanh)."""

    def __init__(self, TOP: int, LOW: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TOP, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh())
        self.out = nn.Linear(100, 2 * LOW)

    def features(self, top: Tensor) -> Tensor:
        """top (*B, TOP) → (*B, 100)."""
        return self.mlp(top)

    def forward(self, top: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, LOW), scale (*B, LOW) before softplus."""
        loc, scale = self.out(self.features(top)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Decode(nn.Module):
    """(low: real[LOW]) → unit[784]: mlp([200, 200], activation=tanh)."""

    def __init__(self, LOW: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(LOW, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.out = nn.Linear(200, 784)

    def features(self, low: Tensor) -> Tensor:
        """low (*B, LOW) → (*B, 200)."""
        return self.mlp(low)

    def forward(self, low: Tensor) -> Tensor:
        """(*B, 784) log-odds."""
        return self.out(self.features(low))


class Encode(nn.Module):
    """(x: bit[784]) → (loc: real[LOW], scale: positive[LOW]): mlp([200, 200], activation=tanh)."""

    def __init__(self, LOW: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(784, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh())
        self.out = nn.Linear(200, 2 * LOW)

    def features(self, x: Tensor) -> Tensor:
        """x (*B, 784) → (*B, 200)."""
        return self.mlp(x)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, LOW), scale (*B, LOW) before softplus."""
        loc, scale = self.out(self.features(x)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Higher(nn.Module):
    """(low: real[LOW]) → (loc: real[TOP], scale: positive[TOP]): mlp([100, 100], activation=tanh)."""

    def __init__(self, TOP: int, LOW: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(LOW, 100), nn.Tanh(), nn.Linear(100, 100), nn.Tanh())
        self.out = nn.Linear(100, 2 * TOP)

    def features(self, low: Tensor) -> Tensor:
        """low (*B, LOW) → (*B, 100)."""
        return self.mlp(low)

    def forward(self, low: Tensor) -> tuple[Tensor, ...]:
        """loc (*B, TOP), scale (*B, TOP) before softplus."""
        loc, scale = self.out(self.features(low)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class TwoLayerVae(nn.Module):
    """Batch: x (n, 784) bit[784]."""

    exact = False
    estimator = "iwae(samples=5)"

    def __init__(self, TOP: int = 50, LOW: int = 100):
        super().__init__()
        self.TOP = TOP
        self.LOW = LOW
        self.lower = Lower(TOP, LOW)
        self.decode = Decode(LOW)
        self.encode = Encode(LOW)
        self.higher = Higher(TOP, LOW)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (n,), in nats."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, LOW)
        encode_scale = F.softplus(encode_scale_raw)  # (n, LOW)
        noise_low = self.one.new_empty(5, x.shape[0], self.LOW).normal_()  # (s*, n, LOW)
        low = encode_loc + encode_scale * noise_low  # (s*, n, LOW)
        higher_loc, higher_scale_raw = self.higher(low)  # (s*, n, TOP)
        higher_scale = F.softplus(higher_scale_raw)  # (s*, n, TOP)
        top = higher_loc + higher_scale * torch.randn_like(higher_loc)  # (s*, n, TOP)
        lower_loc, lower_scale_raw = self.lower(top)  # (s*, n, LOW)
        log_p_low = normal_vector_log_prob(low, lower_loc, F.softplus(lower_scale_raw))  # (s*, n)
        log_q_low = normal_vector_log_prob(low, encode_loc, encode_scale)  # (s*, n)
        log_p_top = standard_normal_vector_log_prob(top)  # (s*, n)
        log_q_top = normal_vector_log_prob(top, higher_loc, higher_scale)  # (s*, n)
        decode = self.decode(low)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        total = log_p_top - log_q_top + (log_p_low - log_q_low) + log_x  # (s*, n)
        log_sum_s = log_sum_exp(total.T)  # (n,)
        return log_sum_s - 1.6094379124341003  # (n,); 1.6094379124341003 = log 5

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, n)."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, LOW)
        encode_scale = F.softplus(encode_scale_raw)  # (n, LOW)
        noise_low = self.one.new_empty(samples, x.shape[0], self.LOW).normal_()  # (s*, n, LOW)
        low = encode_loc + encode_scale * noise_low  # (s*, n, LOW)
        higher_loc, higher_scale_raw = self.higher(low)  # (s*, n, TOP)
        higher_scale = F.softplus(higher_scale_raw)  # (s*, n, TOP)
        top = higher_loc + higher_scale * torch.randn_like(higher_loc)  # (s*, n, TOP)
        lower_loc, lower_scale_raw = self.lower(top)  # (s*, n, LOW)
        log_p_low = normal_vector_log_prob(low, lower_loc, F.softplus(lower_scale_raw))  # (s*, n)
        log_q_low = normal_vector_log_prob(low, encode_loc, encode_scale)  # (s*, n)
        log_p_top = standard_normal_vector_log_prob(top)  # (s*, n)
        log_q_top = normal_vector_log_prob(top, higher_loc, higher_scale)  # (s*, n)
        decode = self.decode(low)  # (s*, n, 784)
        log_x = -F.binary_cross_entropy_with_logits(decode, x.expand_as(decode), reduction="none").sum(-1)  # (s*, n)
        return log_p_top - log_q_top + (log_p_low - log_q_low) + log_x  # (s*, n)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of low, top: log p − log q (samples, n) at draws from the guide, and the draws, samples first."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, LOW)
        encode_scale = F.softplus(encode_scale_raw)  # (n, LOW)
        noise_low = self.one.new_empty(samples, x.shape[0], self.LOW).normal_()  # (s*, n, LOW)
        low = encode_loc + encode_scale * noise_low  # (s*, n, LOW)
        higher_loc, higher_scale_raw = self.higher(low)  # (s*, n, TOP)
        higher_scale = F.softplus(higher_scale_raw)  # (s*, n, TOP)
        top = higher_loc + higher_scale * torch.randn_like(higher_loc)  # (s*, n, TOP)
        lower_loc, lower_scale_raw = self.lower(top)  # (s*, n, LOW)
        log_p_low = normal_vector_log_prob(low, lower_loc, F.softplus(lower_scale_raw))  # (s*, n)
        log_q_low = normal_vector_log_prob(low, encode_loc, encode_scale)  # (s*, n)
        log_p_top = standard_normal_vector_log_prob(top)  # (s*, n)
        log_q_top = normal_vector_log_prob(top, higher_loc, higher_scale)  # (s*, n)
        return {"low": (log_p_low - log_q_low, low), "top": (log_p_top - log_q_top, top)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of low, top; drawn latents are read at their locations."""
        x = batch["x"]  # (n, 784)
        encode_loc, encode_scale_raw = self.encode(x)  # (n, LOW)
        higher_loc, higher_scale_raw = self.higher(encode_loc)  # (n, TOP)
        return {
            "low": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)},
            "top": {"loc": higher_loc, "scale": F.softplus(higher_scale_raw)},
        }

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        low: real[LOW], (n).
        top: real[TOP], (n).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        top = self.one.new_empty(n, self.TOP).normal_()  # (n, TOP)
        lower_loc, lower_scale_raw = self.lower(top)  # (n, LOW)
        low = lower_loc + F.softplus(lower_scale_raw) * torch.randn_like(lower_loc)  # (n, LOW)
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
