"""LdaWords: emitted by vispec from lda_words.vispec; imports torch and nothing else.

    log_prob: exact

    sum_topic = log-sum-exp over topic of log_topic, log_w
    sum_topic_over_n = product over n of sum_topic

    theta  data; given by the data
    topic  summed; discrete; independent in each element of its plates
    w      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# distinct: distinct
# heap: keep_pages
# layers.counts: count_values
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
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# sums.logsum: weights
# sums.lookup: MixedTotal
# sums.lookup: columns
# sums.lookup: mixed_total
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


class LdaWords(nn.Module):
    """Batch: theta (doc, K) simplex[K]; w (doc, n) token[V]; w_len (doc)."""

    exact = True
    estimator = "exact"
    sums = ("sum_topic = log-sum-exp over topic of log_topic, log_w, tilt_topic",)

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.V = V
        self.raw_phi = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

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
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        theta = batch["theta"]  # (doc, K)
        log_topic = theta.log()  # (doc, topic)
        sum_n = mixed_total(log_topic, self.raw_phi, w, inside_n, softmax=(False, True))  # (doc,)
        return impossible_alone(sum_n)  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        theta = batch["theta"]  # (doc, K)
        log_topic = theta.log()  # (doc, topic)
        log_phi = self.raw_phi.log_softmax(-1)  # (topic, V)
        w = batch["w"]  # (doc, n)
        log_w = columns(log_phi, w)  # (doc, n, topic)
        log_joint = log_topic[:, None] + log_w + tilt["topic"]  # (doc, n, topic)
        log_sum_topic = total(log_joint)  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        return torch.where(inside_n, log_sum_topic, 0.0).sum(-1)  # (doc,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        w_len = batch["w_len"]  # (doc,)
        w = batch["w"]  # (doc, n)
        value = self.one.new_zeros(w_len.shape[0], w.shape[1], self.K)  # (doc, n, topic)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        return {"topic": value}, {"topic": inside_n}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
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
        theta = batch["theta"]  # (doc, K)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        topic = torch.distributions.Categorical(probs=theta[:, None]).expand((n, n_size)).sample()  # (doc, n)
        topic_padded = torch.where(inside_n, topic, 0)  # (doc, n)
        phi = self.raw_phi.softmax(-1)  # (k, V)
        phi_at = phi[topic]  # (doc, n, V)
        w = decide(torch.distributions.Categorical(probs=phi_at).expand((n, n_size)), rule, False)  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"theta": theta, "topic": topic_padded, "w": w_padded, "w_len": lengths["n"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds theta.

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
        rows, kinds = len(batch["theta"]), {"w": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"n": batch["w_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
