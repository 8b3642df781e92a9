"""HierarchicalMixture: emitted by vispec from hierarchical_mixture.vispec; imports torch and nothing else.

    log_prob: exact

    sum_topic = log-sum-exp over topic of log_topic, log_w
    sum_topic_over_n = product over n of sum_topic
    sum_kind = log-sum-exp over kind of log_kind, sum_topic_over_n

    kind   summed; discrete; independent in each element of its plates
    topic  summed; discrete; summed out for all values of kind
    w      data; scored at the data
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# rows: up_to_the_ends
# rows: with_room
# starts: by_group
# starts: by_group_among
# starts: kept
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: log_sum_exp
# sums.lookup: columns
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


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


class HierarchicalMixture(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = True
    estimator = "exact"
    sums = (
        "sum_topic = log-sum-exp over topic of log_topic, log_w, tilt_topic",
        "sum_kind = log-sum-exp over kind of log_kind, tilt_kind, sum_topic_over_n",
    )

    def __init__(self, V: int, C: int = 10, K: int = 20):
        super().__init__()
        self.C = C
        self.K = K
        self.V = V
        self.raw_prior = nn.Parameter(torch.zeros(C))  # (C)
        self.raw_mix = nn.Parameter(torch.randn(C, K) * 0.1)  # (class, K)
        self.raw_phi = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def prior(self) -> Tensor:
        """simplex[C]."""
        return self.raw_prior.softmax(-1)

    @prior.setter
    def prior(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_prior.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def mix(self) -> Tensor:
        """simplex[K], one for each element of class."""
        return self.raw_mix.softmax(-1)

    @mix.setter
    def mix(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_mix.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def phi(self) -> Tensor:
        """simplex[V], one for each element of k."""
        return self.raw_phi.softmax(-1)

    @phi.setter
    def phi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_phi.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (doc,), exact, in nats."""
        batch = with_room(batch)
        log_phi = self.raw_phi.log_softmax(-1)  # (topic, V)
        w = batch["w"]  # (doc, n)
        log_w = columns(log_phi, w)  # (doc, n, topic)
        log_mix = self.raw_mix.log_softmax(-1)  # (kind, K)
        log_joint = log_mix + log_w[:, :, None]  # (doc, n, kind, topic)
        log_sum_topic = log_sum_exp(log_joint)  # (doc, n, kind)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        log_sum_topic_2 = torch.where(inside_n[:, :, None], log_sum_topic, 0.0)  # (doc, n, kind)
        log_prior = self.raw_prior.log_softmax(-1)  # (C,)
        return log_sum_exp(log_prior + log_sum_topic_2.sum(1))  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        log_phi = self.raw_phi.log_softmax(-1)  # (topic, V)
        w = batch["w"]  # (doc, n)
        log_w = columns(log_phi, w)  # (doc, n, topic)
        log_mix = self.raw_mix.log_softmax(-1)  # (kind, K)
        log_joint = log_mix + log_w[:, :, None] + tilt["topic"][:, :, None]  # (doc, n, kind, topic)
        log_sum_topic = total(log_joint)  # (doc, n, kind)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        log_sum_topic_2 = torch.where(inside_n[:, :, None], log_sum_topic, 0.0)  # (doc, n, kind)
        log_prior = self.raw_prior.log_softmax(-1)  # (C,)
        total_ = log_prior + tilt["kind"] + log_sum_topic_2.sum(1)  # (doc, kind)
        return total(total_)  # (doc,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        w_len = batch["w_len"]  # (doc,)
        value = self.one.new_zeros(w_len.shape[0], self.C)  # (doc, kind)
        w = batch["w"]  # (doc, n)
        value_2 = self.one.new_zeros(w_len.shape[0], w.shape[1], self.K)  # (doc, n, topic)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        return {"kind": value, "topic": value_2}, {"topic": inside_n}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        kind: index[class], (doc).
        topic: index[k], (doc, n).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        topic = torch.randint(self.K, (w.shape[0], w.shape[1]), device=self.one.device)  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        phi = by_group_among(categorical_start, w, 2, (topic,), (self.phi,), self.V, inside=inside_n)[0]  # (k, V)
        self.phi = phi
        self.raw_phi += torch.randn_like(self.raw_phi)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        n_size = max(int(lengths["n"].max()), 1)
        kind = torch.distributions.Categorical(logits=self.raw_prior).expand((n,)).sample()  # (doc,)
        mix = self.raw_mix.softmax(-1)  # (class, K)
        mix_at = mix[kind]  # (doc, K)
        topic = torch.distributions.Categorical(probs=mix_at[:, None]).expand((n, n_size)).sample()  # (doc, n)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        topic_padded = torch.where(inside_n, topic, 0)  # (doc, n)
        phi = self.raw_phi.softmax(-1)  # (k, V)
        phi_at = phi[topic]  # (doc, n, V)
        w = decide(torch.distributions.Categorical(probs=phi_at).expand((n, n_size)), rule, False)  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"kind": kind, "topic": topic_padded, "w": w_padded, "w_len": lengths["n"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("n",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(next(iter(batch.values()))), {"w": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"n": batch["w_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
