"""Hsmm: emitted by vispec from hsmm.vispec; imports torch and nothing else.

    log_prob: exact

    segments_k = segments of k along t (one pass over labels and lengths) of init_k, move_k, duration_k, log_x

    k  stretches, summed; discrete; a semi-Markov chain along t: one pass over labels and lengths
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
# heap: keep_pages
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.chain: unused
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: pick_last
# sums.segments: by_last
# sums.segments: log_survival_of
# sums.segments: one_or_rows
# sums.segments: rows_of_segments
# sums.segments: segments_backward
# sums.segments: segments_by
# sums.segments: segments_forward
# sums.segments: segments_gradient
# sums.segments: segments_log_prob
# sums.segments: segments_sample
# sums.segments: segments_save
# sums.segments: segments_shapes
# sums.segments: segments_sums
# sums.segments: segments_total
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
# told.stretches: Begun
# told.stretches: begins_of
# told.stretches: best_stretches
# told.stretches: boundaries


def normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, scale²), elementwise."""
    return -0.5 * ((value - loc) / scale).square() - scale.log() - 0.9189385332046727  # log(2π) / 2


class Hsmm(nn.Module):
    """Batch: x (row, t) real; x_len (row)."""

    exact = True
    estimator = "exact"
    sums = (
        "segments_k = segments of k along t (one pass over labels and lengths) of init_k, move_k, duration_k, log_x, tilt_k",
    )

    def __init__(self, K: int = 3):
        super().__init__()
        self.K = K
        self.raw_init = nn.Parameter(torch.zeros(K))  # (K)
        self.score = nn.Parameter(torch.randn(K, K))  # (state, K)
        self.raw_duration = nn.Parameter(torch.randn(K, 12) * 0.1)  # (state, 12)
        self.mu = nn.Parameter(torch.randn(K))  # (state)
        self.raw_sd = nn.Parameter(torch.randn(K) * 0.1)  # (state)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def init(self) -> Tensor:
        """simplex[K]."""
        return self.raw_init.softmax(-1)

    @init.setter
    def init(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_init.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def duration(self) -> Tensor:
        """simplex[12], one for each element of state."""
        return self.raw_duration.softmax(-1)

    @duration.setter
    def duration(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_duration.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def sd(self) -> Tensor:
        """positive, one for each element of state."""
        return F.softplus(self.raw_sd)

    @sd.setter
    def sd(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_sd.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    @property
    def trans(self) -> Tensor:
        """simplex[K], one for each element of state."""
        at_j = torch.arange(self.K, device=self.one.device)  # (j,)
        value = torch.where(at_j[:, None] == at_j, -torch.inf, self.score.T)  # (j, state)
        trans = value.softmax(0)  # (K, state)
        return trans.T  # (state, K)

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (row,), exact, in nats."""
        batch = with_room(batch)
        at_j = torch.arange(self.K, device=self.one.device)  # (j,)
        value = torch.where(at_j[:, None] == at_j, -torch.inf, self.score.T)  # (j, state)
        log_value = value.log_softmax(0)  # (K, state)
        x = batch["x"]  # (row, t)
        sd = F.softplus(self.raw_sd)  # (k,)
        log_x = normal_log_prob(x[:, :, None], self.mu, sd)  # (row, t, k)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_duration = self.raw_duration.log_softmax(-1)  # (state, 12)
        x_len = batch["x_len"]  # (row,)
        return segments_log_prob(log_init, log_value.T, log_duration, log_x, x_len, cut=True)  # (row,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        at_j = torch.arange(self.K, device=self.one.device)  # (j,)
        value = torch.where(at_j[:, None] == at_j, -torch.inf, self.score.T)  # (j, state)
        log_value = value.log_softmax(0)  # (K, state)
        x = batch["x"]  # (row, t)
        sd = F.softplus(self.raw_sd)  # (k,)
        log_x = normal_log_prob(x[:, :, None], self.mu, sd)  # (row, t, k)
        total_ = log_x + tilt["k"]  # (row, t, k)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_duration = self.raw_duration.log_softmax(-1)  # (state, 12)
        x_len = batch["x_len"]  # (row,)
        segments = segments_total(total, log_init, log_value.T, log_duration, total_, x_len, cut=True)  # (row,)
        return segments  # (row,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (row,)
        x = batch["x"]  # (row, t)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.K)  # (row, t, k)
        inside_t = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (row, t)
        return {"k": value}, {"k": inside_t}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "stretches": the best way to cut and label, each stretch by first element, last element and label.
        "boundaries": the probability that a stretch begins at each element.
        k: index[state] by stretches of t, (row, t).
        """
        batch = with_room(batch)
        if query.startswith("kbest("):
            raise ValueError("the k best stretches are not told by their labels; queries are marginals, mode, stretches, boundaries, sample, entropy, kl")
        if query == "stretches":
            return {"k": best_stretches(self.tilted, batch, *self.unknowns(batch), "k")}
        if query == "boundaries":
            return {"k": boundaries(self.tilted, batch, *self.unknowns(batch), "k")}
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        t_size = max(int(lengths["t"].max()), 1)
        at_j = torch.arange(self.K, device=self.one.device)  # (j,)
        value = torch.where(at_j[:, None] == at_j, -torch.inf, self.score.T)  # (j, state)
        log_value = value.log_softmax(0)  # (K, state)
        log_init = self.raw_init.log_softmax(-1)  # (K,)
        log_duration = self.raw_duration.log_softmax(-1)  # (state, 12)
        value_2 = self.one.new_zeros(n, t_size, self.K)  # (row, t, K)
        k = segments_sample(log_init, log_value.T, log_duration, value_2, lengths["t"], cut=True)  # (row, t)
        inside_t = torch.arange(t_size, device=self.one.device) < lengths["t"][:, None]  # (row, t)
        k_padded = torch.where(inside_t, k, 0)  # (row, t)
        mu_at = pick_last(self.mu, k)  # (row, t)
        sd = F.softplus(self.raw_sd)  # (state,)
        sd_at = pick_last(sd, k)  # (row, t)
        x = decide(torch.distributions.Normal(loc=mu_at, scale=sd_at).expand((n, t_size)), rule, False)  # (row, t)
        x_padded = up_to_the_ends(x, inside_t)  # (row, t)
        return {"k": k_padded, "x": x_padded, "x_len": lengths["t"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("t",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"x": "number"}
        return predictive(lambda by: self.generate(rows, batch, {"t": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
