"""EmbeddedTopics: emitted by vispec from embedded_topics.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, elbo(samples=1)

    log_w_over_n = product over n of log_w
    total = product of kl_eta, log_w_over_n

    eta  elbo(samples=1); continuous; guide Normal
    w    data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# draws.kl: KlNormalStandard
# draws.kl: kl_normal_standard_vector
# heap: keep_pages
# layers.counts: count_values
# probability: LogOfProbability
# probability: log_of
# rows: up_to_the_ends
# rows: with_room
# sums.lookup: pick_last
# told.decide: decide
# told.decide: predictive
# vectors: NormalVectorLogProb
# vectors: normal_vector_log_prob
# vectors: standard_normal_vector_log_prob


class Encode(nn.Module):
    """(words: token[V]*) → (loc: real[K], scale: positive[K]): bow |> layernorm |> mlp([200])."""

    def __init__(self, K: int, V: int):
        super().__init__()
        self.V = V
        self.layernorm = nn.LayerNorm(V)
        self.mlp = nn.Sequential(nn.Linear(V, 200), nn.ReLU())
        self.out = nn.Linear(200, 2 * K)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 200)."""
        h = count_values(words, self.V, words_mask, self.out.weight)  # (*B, V)
        return self.mlp(self.layernorm(h))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """loc (*B, K), scale (*B, K) before softplus."""
        loc, scale = self.out(self.features(words, words_mask=words_mask)).chunk(2, -1)
        return loc, scale.contiguous()  # torch's softplus is slow on slices


class EmbeddedTopics(nn.Module):
    """Batch: w (doc, n) token[V]; w_len (doc)."""

    exact = False
    estimator = "elbo(samples=1)"

    def __init__(self, V: int, K: int = 50, H: int = 100):
        super().__init__()
        self.K = K
        self.rho = nn.Parameter(torch.randn(V, H))  # (v, H)
        self.alpha = nn.Parameter(torch.randn(K, H))  # (k, H)
        self.encode = Encode(K, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    @property
    def beta(self) -> Tensor:
        """simplex[V], one for each element of k."""
        product = self.alpha @ self.rho.T  # (k, V)
        return product.softmax(-1)  # (k, V)

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (doc,), in nats."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        eta = encode_loc + encode_scale * torch.randn_like(encode_loc)  # (doc, K)
        theta = eta.softmax(-1)  # (doc, K)
        product = self.alpha @ self.rho.T  # (k, V)
        product_prob = product.softmax(-1)  # (K, V)
        product_2 = theta @ product_prob  # (doc, V)
        log_w = log_of(product_2).gather(-1, w)  # (doc, n)
        sum_n = torch.where(inside_n, log_w, 0.0).sum(-1)  # (doc,)
        kl_eta = kl_normal_standard_vector(encode_loc, encode_scale)  # (doc,)
        return sum_n - kl_eta  # (doc,)

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
        noise_eta = self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        eta = encode_loc + encode_scale * noise_eta  # (s*, doc, K)
        theta = eta.softmax(-1)  # (s*, doc, K)
        product = self.alpha @ self.rho.T  # (k, V)
        product_prob = product.softmax(-1)  # (K, V)
        product_2 = theta @ product_prob  # (s*, doc, V)
        log_w = pick_last(log_of(product_2)[:, :, None], w)  # (s*, doc, n)
        sum_n = torch.where(inside_n, log_w, 0.0).sum(-1)  # (s*, doc)
        log_p_eta = standard_normal_vector_log_prob(eta)  # (s*, doc)
        log_q_eta = normal_vector_log_prob(eta, encode_loc, encode_scale)  # (s*, doc)
        return log_p_eta - log_q_eta + sum_n  # (s*, doc)

    @torch.no_grad()
    def divergences(self, batch: dict[str, Tensor], samples: int) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Of eta: log p − log q (samples, doc) at draws from the guide, and the draws, samples first."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        encode_scale = F.softplus(encode_scale_raw)  # (doc, K)
        noise_eta = self.one.new_empty(samples, w.shape[0], self.K).normal_()  # (s*, doc, K)
        eta = encode_loc + encode_scale * noise_eta  # (s*, doc, K)
        log_p_eta = standard_normal_vector_log_prob(eta)  # (s*, doc)
        log_q_eta = normal_vector_log_prob(eta, encode_loc, encode_scale)  # (s*, doc)
        return {"eta": (log_p_eta - log_q_eta, eta)}

    @torch.no_grad()
    def guides(self, batch: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """The parameters of the guides of eta; drawn latents are read at their locations."""
        batch = with_room(batch)
        w = batch["w"]  # (doc, n)
        w_len = batch["w_len"]  # (doc,)
        inside_n = torch.arange(w.shape[1], device=self.one.device) < w_len[:, None]  # (doc, n)
        encode_loc, encode_scale_raw = self.encode(w, words_mask=inside_n)  # (doc, K)
        return {"eta": {"loc": encode_loc, "scale": F.softplus(encode_scale_raw)}}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals") -> dict:
        """The parameters of the latents' guides, which are all that the posterior is told by.

        eta: real[K], (doc).
        """
        if query != "marginals":
            raise ValueError(f"this model answers no query {query!r}: its latents are drawn and told by guides")
        return self.guides(batch)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        n_size = max(int(lengths["n"].max()), 1)
        eta = self.one.new_empty(n, self.K).normal_()  # (doc, K)
        eta_prob = eta.softmax(-1)  # (doc, K)
        product = self.alpha @ self.rho.T  # (k, V)
        product_prob = product.softmax(-1)  # (K, V)
        product_2 = eta_prob @ product_prob  # (doc, V)
        w = decide(torch.distributions.Categorical(probs=product_2[:, None]).expand((n, n_size)), rule, False)  # (doc, n)
        inside_n = torch.arange(n_size, device=self.one.device) < lengths["n"][:, None]  # (doc, n)
        w_padded = up_to_the_ends(w, inside_n)  # (doc, n)
        return {"eta": eta, "w": w_padded, "w_len": lengths["n"]}

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
