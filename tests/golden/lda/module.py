"""Lda: emitted by vispec from lda.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    sum_topic = log-sum-exp over topic of log_topic, log_w
    sum_topic_over_n = product over n of sum_topic
    total = product of kl_theta, sum_topic_over_n

    phi    map(); a point estimate
    theta  elbo(samples=1); continuous; guide Dirichlet
    topic  summed; discrete; independent in each element of its plates
    w      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# distinct: distinct
# draws.once: Once
# draws.once: differentiable_once
# heap: keep_pages
# layers.counts: count_values
# layers.counts: few_values
# layers.counts: shared_counts
# probability: LogOfProbability
# probability: log_of
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


def dirichlet_log_prob(value: torch.Tensor, concentration: torch.Tensor) -> torch.Tensor:
    """log Dirichlet(value; concentration) (*B) for value (*B, K) and concentration (*B, K) or ()."""
    concentration = concentration.expand(*concentration.shape[:-1], value.shape[-1]).double()
    log_norm = torch.lgamma(concentration).sum(-1) - torch.lgamma(concentration.sum(-1))
    return (torch.xlogy(concentration - 1, value.double()).sum(-1) - log_norm).to(value.dtype)


class Encode(nn.Module):
    """(words: token[V]*) → positive[K]: bow |> layernorm |> mlp([200])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.V = V
        self.layernorm = nn.LayerNorm(V)
        self.mlp = nn.Sequential(nn.Linear(V, 200), nn.ReLU())
        self.out = nn.Linear(200, K)

    def features(self, words: Tensor, words_mask: Tensor | None = None, words_counts: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 200)."""
        h = count_values(words, self.V, words_mask, self.out.weight) if words_counts is None else words_counts  # (*B, V)
        return self.mlp(self.layernorm(h))

    def forward(self, words: Tensor, words_mask: Tensor | None = None, words_counts: Tensor | None = None) -> Tensor:
        """(*B, K) before softplus."""
        return self.out(self.features(words, words_mask=words_mask, words_counts=words_counts))


class Lda(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.V = V
        self.raw_phi_point = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.encode = Encode(K, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def phi_point(self) -> Tensor:
        """simplex[V], one for each element of k."""
        return self.raw_phi_point.softmax(-1)

    @phi_point.setter
    def phi_point(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_phi_point.copy_(in_domain(raw, raw.softmax(-1), value))

    def log_prob(self, batch: dict[str, Tensor], shared: tuple[Tensor, ...] | None = None) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats."""
        batch = with_room(batch)
        phi, _ = self.shared() if shared is None else shared
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        w_counts = shared_counts(w, mask=inside_n, size=self.V, like=self.one)  # (doc, V)
        encode_raw = self.encode(w, words_mask=inside_n, words_counts=w_counts)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = differentiable_once(torch.distributions.Dirichlet(concentration=encode).rsample())  # (doc, K)
        log_topic = log_of(theta)  # (doc, topic)
        log_phi = log_of(phi)  # (topic, V)
        sum_n = mixed_total(log_topic, log_phi, w, inside_n, softmax=(False, False), counts=w_counts)  # (doc,)
        kl_theta = torch.distributions.kl_divergence(
            torch.distributions.Dirichlet(concentration=encode.double()),
            torch.distributions.Dirichlet(concentration=(self.one * 0.5).expand(self.K).expand(w.shape[0], -1).double()),
        ).to(self.one.dtype)  # (doc,)
        return sum_n - kl_theta  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data) or its bound: (N/M) Σ over the rows, and once what all rows share."""
        shared = self.shared()
        log_prob = self.log_prob(batch, shared)
        return -log_prob.sum() * (num_data / len(log_prob)) - shared[-1]

    def shared(self) -> tuple[Tensor, ...]:
        """phi (k, V); log p − log q of all that rows share."""
        phi_point = self.raw_phi_point.softmax(-1)  # (k, V)
        log_p_phi = dirichlet_log_prob(phi_point, (self.one * 1.01).expand(self.V))  # (k,)
        log_ratio = log_p_phi.sum(-1)
        return phi_point, log_ratio

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, doc);
        what all rows share is drawn with each sample and adds nothing."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).expand((samples, w.shape[0])).rsample()  # (s*, doc, K)
        log_p_theta = dirichlet_log_prob(theta, (self.one * 0.5).expand(self.K))  # (s*, doc)
        log_q_theta = dirichlet_log_prob(theta, encode)  # (s*, doc)
        log_topic = log_of(theta)  # (s*, doc, topic)
        sum_n = mixed_total(
            log_topic, self.raw_phi_point, w.expand(samples, -1, -1), inside_n, softmax=(False, True)
        )  # (s*, doc)
        return log_p_theta - log_q_theta + sum_n  # (s*, doc)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of theta: log p − log q (samples, doc) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = torch.distributions.Dirichlet(concentration=encode).expand((samples, w.shape[0])).rsample()  # (s*, doc, K)
        log_p_theta = dirichlet_log_prob(theta, (self.one * 0.5).expand(self.K))  # (s*, doc)
        log_q_theta = dirichlet_log_prob(theta, encode)  # (s*, doc)
        return {"theta": (log_p_theta - log_q_theta, theta)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of theta; drawn latents are read at their locations."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        return {"theta": {"concentration": F.softplus(encode_raw)}}

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        phi, _ = self.shared()
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode = F.softplus(encode_raw)  # (doc, K)
        theta = differentiable_once(torch.distributions.Dirichlet(concentration=encode).rsample())  # (doc, K)
        log_topic = log_of(theta)  # (doc, topic)
        log_w = columns(log_of(phi), w)  # (doc, n, topic)
        log_joint = log_topic[:, None] + log_w + tilt["topic"]  # (doc, n, topic)
        log_sum_topic = total(log_joint)  # (doc, n)
        sum_n = torch.where(inside_n, log_sum_topic, 0.0).sum(-1)  # (doc,)
        kl_theta = torch.distributions.kl_divergence(
            torch.distributions.Dirichlet(concentration=encode.double()),
            torch.distributions.Dirichlet(concentration=(self.one * 0.5).expand(self.K).expand(w.shape[0], -1).double()),
        ).to(self.one.dtype)  # (doc,)
        return sum_n - kl_theta  # (doc,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        w_len = batch["w_len"]  # (doc,)
        w = batch["w"]  # (doc, n)
        value = self.one.new_zeros(w_len.shape[0], w.shape[1], self.K)  # (doc, n, topic)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        return {"topic": value}, {"topic": inside_n}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together.
        topic: index[k], (doc, n).
        theta: simplex[K], (doc).
        """
        batch = with_room(batch)
        zeros, inside = self.unknowns(batch)
        found = ask(self, batch, query, zeros, inside)
        return found | self.guides(batch)

    @torch.no_grad()
    def initialise(self, batch: dict[str, Tensor]) -> None:
        """Start parameters at what the batch shows of their laws. Latents that the batch does not show are guessed."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        topic = torch.randint(self.K, (w.shape[0], w.shape[1]), device=self.one.device)  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        phi_point = by_group_among(categorical_start, w, 2, (topic,), (self.phi_point,), self.V, inside=inside_n)[0]  # (k, V)
        self.phi_point = phi_point
        self.raw_phi_point += torch.randn_like(self.raw_phi_point)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        phi, _ = self.shared()
        n_size = max(int(lengths["n"].max()), 1)
        theta = torch.distributions.Dirichlet(concentration=(self.one * 0.5).expand(self.K)).expand((n,)).sample()  # (doc, K)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        topic = torch.distributions.Categorical(probs=theta[:, None]).expand((n, n_size)).sample()  # (doc, n)
        topic_padded = torch.where(inside_n, topic, 0)  # (doc, n)
        phi_at = phi[topic]  # (doc, n, V)
        w = decide(torch.distributions.Categorical(probs=phi_at).expand((n, n_size)), rule, False)  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"phi": phi, "theta": theta, "topic": topic_padded, "w": w_padded, "w_len": lengths["n"]}

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
