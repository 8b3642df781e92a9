"""Potts: emitted by vispec from potts.vispec; imports torch and nothing else.

    log_prob: exact

    log_x_over_site = product over site of log_x
    sum_z = log-sum-exp over z of log_z, log_x_over_site

    agree  data; given by the data
    label  data; given by the data
    z      summed; discrete; independent in each element of its plates
    x      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# starts: by_group
# starts: by_group_among
# starts: clusters
# starts: k_means
# starts: kept
# starts: nearest
# starts: standardised
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# told.decide: decide
# told.decide: predictive
# told.queries: Attached
# told.queries: Entropic
# told.queries: Summed
# told.queries: answer
# told.queries: ask
# told.queries: divergence
# told.queries: k_best
# told.queries: logs_of
# told.queries: mean_where
# told.queries: ranked
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


def normal_start(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of elements (N, *event); a deviation of 0 tells no scale, which is nan."""
    scale = (value - value[:1]).std(0, correction=0)
    return value.mean(0), scale.masked_fill(scale == 0, torch.nan)


class Potts(nn.Module):
    """Batch: agree (code) count; label (code, site) category[K]; x (picture, site) real."""

    exact = True
    estimator = "exact"
    sums = ("sum_z = log-sum-exp over z of log_z, tilt_z, log_x_over_site",)

    def __init__(self, C: int, N: int, K: int = 2):
        super().__init__()
        self.C = C
        self.N = N
        self.K = K
        self.coupling = nn.Parameter(torch.zeros(()))
        self.mu = nn.Parameter(torch.randn(K))  # (k)
        self.raw_sigma = nn.Parameter(torch.zeros(()))
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def sigma(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_sigma)

    @sigma.setter
    def sigma(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_sigma.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (picture,), exact, in nats."""
        agree = batch["agree"]  # (code,)
        log_value = (self.coupling * agree).log_softmax(-1)  # (C,)
        label = batch["label"]  # (code, site)
        mu_at = pick_last(self.mu, label)  # (z, site)
        x = batch["x"]  # (picture, site)
        sigma = F.softplus(self.raw_sigma)
        log_x_over_site = normal_vector_log_prob(x[:, None], mu_at, sigma)  # (picture, z)
        return log_sum_exp(log_value + log_x_over_site)  # (picture,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        agree = batch["agree"]  # (code,)
        log_value = (self.coupling * agree).log_softmax(-1)  # (C,)
        label = batch["label"]  # (code, site)
        mu_at = pick_last(self.mu, label)  # (z, site)
        x = batch["x"]  # (picture, site)
        sigma = F.softplus(self.raw_sigma)
        log_x_over_site = normal_vector_log_prob(x[:, None], mu_at, sigma)  # (picture, z)
        log_joint = log_value + tilt["z"] + log_x_over_site  # (picture, z)
        return total(log_joint)  # (picture,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x = batch["x"]  # (picture, site)
        return {"z": self.one.new_zeros(x.shape[0], self.C)}, {}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        z: index[code], (picture).
        """
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws."""
        x = batch["x"]  # (picture, site)
        elements_of_x = clusters(
            self.K, [x], inside=torch.tensor(True, device=self.one.device).expand(x.shape[0], self.N)
        )  # (picture, site)
        mu, Normal = by_group_among(normal_start, x, 2, (elements_of_x,), (self.mu, self.sigma.expand(self.K)))  # (k,)
        sigma = Normal.sum(-1) / self.K
        self.mu[...] = mu
        self.sigma = sigma

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        agree = batch["agree"]  # (code,)
        label = batch["label"]  # (code, site)
        z = torch.distributions.Categorical(logits=self.coupling * agree).expand((n,)).sample()  # (picture,)
        label_at = label[z]  # (picture, site)
        mu_at = pick_last(self.mu, label_at)  # (picture, site)
        sigma = F.softplus(self.raw_sigma)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sigma).expand((n, self.N)), rule, False)  # (picture, site)
        return {"agree": agree, "label": label, "z": z, "x": x}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds agree, label.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
