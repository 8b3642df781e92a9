"""Prodlda: emitted by vispec from prodlda.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_w_over_n = product over n of log_w
    total = product of kl_h, log_w_over_n

    h  elbo(samples=1); continuous; guide Normal
    w  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.counts: count_values
# rows: up_to_the_ends
# rows: with_room
# sums.lookup: pick_last
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Topics(nn.Module):
    """(theta: real[K]) → simplex[V]: dropout(0.3)."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(K, V)

    def features(self, theta: Tensor) -> Tensor:
        """theta (*B, K) → (*B, K)."""
        return self.dropout(theta)

    def forward(self, theta: Tensor) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.features(theta))


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[K], scale: positive[K]): bow |> layernorm |> mlp([500]) |> dropout(0.3)."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.V = V
        self.layernorm = nn.LayerNorm(V)
        self.mlp = nn.Sequential(nn.Linear(V, 500), nn.ReLU())
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(500, 2 * K)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 500)."""
        h = count_values(words, self.V, words_mask, self.out.weight)  # (*B, V)
        return self.dropout(self.mlp(self.layernorm(h)))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, K), scale (*B, K) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class Prodlda(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50):
        super().__init__()
        self.K = K
        self.topics = Topics(K, V)
        self.encode = Encode(K, V)
        self.kl_weight = 1.0
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        h = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (doc, K)
        h_prob = h.softmax(-1)  # (doc, K)
        theta = 20 * h_prob  # (doc, K)
        topics_raw = self.topics(theta)  # (doc, V)
        log_topics = topics_raw.log_softmax(-1)  # (doc, V)
        log_w = log_topics.gather(-1, w)  # (doc, n)
        sum_n = torch.where(inside_n, log_w, 0.0).sum(-1)  # (doc,)
        kl_h = kl_normal_standard_vector(encode_loc, encode_scale)  # (doc,)
        return sum_n - self.kl_weight * kl_h  # (doc,)

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
        h_prob = h.softmax(-1)  # (s*, doc, K)
        theta = 20 * h_prob  # (s*, doc, K)
        topics_raw = self.topics(theta)  # (s*, doc, V)
        log_topics = topics_raw.log_softmax(-1)  # (s*, doc, V)
        log_w = pick_last(log_topics[:, :, None], w)  # (s*, doc, n)
        sum_n = torch.where(inside_n, log_w, 0.0).sum(-1)  # (s*, doc)
        log_p_h = standard_normal_vector_log_prob(h)  # (s*, doc)
        log_q_h = normal_vector_log_prob(h, encode_loc, encode_scale)  # (s*, doc)
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
        log_p_h = standard_normal_vector_log_prob(h)  # (s*, doc)
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

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        h: real[K], (doc).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        n_size = max(int(lengths["n"].max()), 1)
        h = self.one.new_empty(n, self.K).normal_()  # (doc, K)
        h_prob = h.softmax(-1)  # (doc, K)
        topics = self.topics(20 * h_prob)  # (doc, V)
        w = decide(torch.distributions.Categorical(logits=topics[:, None]).expand((n, n_size)), rule, False)  # (doc, n)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"h": h, "w": w_padded, "w_len": lengths["n"]}

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
