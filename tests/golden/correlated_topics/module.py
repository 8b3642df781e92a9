"""CorrelatedTopics: emitted by vispec from correlated_topics.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    sum_topic = log-sum-exp over topic of log_topic, log_w
    sum_topic_over_n = product over n of sum_topic
    total = product of ratio_h, sum_topic_over_n

    h      elbo(samples=1); continuous; guide Normal
    topic  summed; discrete; independent in each element of its plates
    w      data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: from_cholesky
# constraints: in_domain
# constraints: softplus_inverse
# constraints: to_cholesky
# distinct: distinct
# heap: keep_pages
# layers.counts: count_values
# layers.sequence: masked_mean
# layers.sequence: weighted_sum
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
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob


def categorical_start(value: torch.Tensor, size: int) -> tuple[torch.Tensor]:
    """Frequencies (*event, size) of elements (N, *event), with one more of each kind."""
    flat = value.reshape(len(value), -1)
    count = torch.stack([torch.bincount(column, minlength=size) for column in flat.unbind(1)])
    return (((count + 1.0) / (len(value) + size)).reshape(*value.shape[1:], size),)


def multivariate_normal_log_prob(value: torch.Tensor, loc: torch.Tensor, scale_tril: torch.Tensor) -> torch.Tensor:
    """log N(value; loc, L Lᵀ) (*B) for value and loc (*B, D) and lower-triangular L = scale_tril (*B, D, D)."""
    while scale_tril.dim() > 2 and len(scale_tril) == 1:
        scale_tril = scale_tril.squeeze(0)
    error = value - loc
    error = error.expand(torch.broadcast_shapes(error.shape, scale_tril.shape[:-1]))  # (*N, *S, D) against L (*S, D, D)
    own = error.dim() - scale_tril.dim() + 1  # axes N, over which L does not vary: columns of one solve, not copies of L
    columns = error.reshape(-1, *error.shape[own:]).movedim(0, -1)  # (*S, D, N)
    white = torch.linalg.solve_triangular(scale_tril, columns, upper=False)
    distance = white.square().sum(-2).movedim(-1, 0).reshape(error.shape[:-1])  # (*N, *S)
    log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # (*S)
    return -0.5 * distance - log_det - 0.9189385332046727 * value.shape[-1]  # log(2π) / 2


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[K], scale: positive[K]): embed(200) |> mean |> mlp([200])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 200)
        self.mlp = nn.Sequential(nn.Linear(200, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * K)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 200)."""
        return self.mlp(masked_mean(self.embed(words), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, K), scale (*B, K) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class CorrelatedTopics(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.V = V
        self.mean = nn.Parameter(torch.zeros(K))  # (K)
        self.raw_chol = nn.Parameter(torch.zeros(K, K))  # (K, K)
        self.raw_phi = nn.Parameter(torch.randn(K, V) * 0.1)  # (k, V)
        self.encode = Encode(K, V)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def chol(self) -> Tensor:
        """cholesky[K]."""
        return to_cholesky(self.raw_chol)

    @chol.setter
    def chol(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = from_cholesky(value)
            self.raw_chol.copy_(in_domain(raw, to_cholesky(raw), value))

    @property
    def phi(self) -> Tensor:
        """simplex[V], one for each element of k."""
        return self.raw_phi.softmax(-1)

    @phi.setter
    def phi(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_phi.copy_(in_domain(raw, raw.softmax(-1), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (doc, K)
        chol = to_cholesky(self.raw_chol)  # (K', K)
        log_p_h = multivariate_normal_log_prob(h, self.mean, chol)  # (doc,)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (doc,)
        sum_n = mixed_total(h, self.raw_phi, w, inside_n, softmax=(True, True))  # (doc,)
        return self.kl_weight * (log_p_h - log_q_h) + sum_n  # (doc,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, doc)."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        noise_h = self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        h = encode_loc + encode_scale * noise_h  # (s*, doc, K)
        chol = to_cholesky(self.raw_chol)  # (K', K)
        log_p_h = multivariate_normal_log_prob(h, self.mean, chol)  # (s*, doc)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (s*, doc)
        sum_n = mixed_total(h, self.raw_phi, w.expand(samples, -1, -1), inside_n, softmax=(True, True))  # (s*, doc)
        return log_p_h - log_q_h + sum_n  # (s*, doc)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of h: log p − log q (samples, doc) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        noise_h = self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        h = encode_loc + encode_scale * noise_h  # (s*, doc, K)
        chol = to_cholesky(self.raw_chol)  # (K', K)
        log_p_h = multivariate_normal_log_prob(h, self.mean, chol)  # (s*, doc)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (s*, doc)
        return {"h": (log_p_h - log_q_h, h)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of h; drawn latents are read at their locations."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        return {"h": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (doc, K)
        log_h = h.log_softmax(-1)  # (doc, K)
        log_phi = self.raw_phi.log_softmax(-1)  # (topic, V)
        log_w = columns(log_phi, w)  # (doc, n, topic)
        log_joint = log_h[:, None] + log_w + tilt["topic"]  # (doc, n, topic)
        log_sum_topic = total(log_joint)  # (doc, n)
        sum_n = torch.where(inside_n, log_sum_topic, 0.0).sum(-1)  # (doc,)
        chol = to_cholesky(self.raw_chol)  # (K', K)
        log_p_h = multivariate_normal_log_prob(h, self.mean, chol)  # (doc,)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (doc,)
        return self.kl_weight * (log_p_h - log_q_h) + sum_n  # (doc,)

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
        h: real[K], (doc).
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
        phi = by_group_among(categorical_start, w, 2, (topic,), (self.phi,), self.V, inside=inside_n)[0]  # (k, V)
        self.phi = phi
        self.raw_phi += torch.randn_like(self.raw_phi)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        n_size = max(int(lengths["n"].max()), 1)
        chol = to_cholesky(self.raw_chol)  # (K', K)
        h = torch.distributions.MultivariateNormal(loc=self.mean, scale_tril=chol).expand((n,)).sample()  # (doc, K)
        topic = torch.distributions.Categorical(logits=h[:, None]).expand((n, n_size)).sample()  # (doc, n)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        topic_padded = torch.where(inside_n, topic, 0)  # (doc, n)
        phi = self.raw_phi.softmax(-1)  # (k, V)
        phi_at = phi[topic]  # (doc, n, V)
        w = decide(torch.distributions.Categorical(probs=phi_at).expand((n, n_size)), rule, False)  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"h": h, "topic": topic_padded, "w": w_padded, "w_len": lengths["n"]}

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
