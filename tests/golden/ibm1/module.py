"""Ibm1: emitted by vispec from ibm1.vispec; imports torch and nothing else.

    log_prob: exact

    sum_a = log-sum-exp over a of log_a, log_x
    sum_a_over_i = product over i of sum_a

    y  data; given by the data
    a  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# distinct: distinct
# heap: keep_pages
# rows: up_to_the_ends
# rows: with_room
# sums.algebra: Maximum
# sums.algebra: Sampled
# sums.algebra: maximum
# sums.algebra: sampled
# sums.enumeration: seeded
# sums.logsum: LogSumExp
# sums.logsum: impossible_alone
# sums.logsum: log_sum_exp
# sums.selected: SelectedLogSoftmax
# sums.selected: selected_log_softmax
# sums.selected: softmax_in_place
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


class Lex(nn.Module):
    """(y: token[FR]) → simplex[EN]: embed(128) |> mlp([256])."""

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.embed = nn.Embedding(FR, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 256), nn.ReLU())
        self.out = nn.Linear(256, EN)

    def features(self, y: Tensor) -> Tensor:
        """y (*B) → (*B, 256)."""
        return self.mlp(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        """(*B, EN) unnormalised log-probabilities."""
        return self.out(self.features(y))


class Ibm1(nn.Module):
    """Batch: y (pair, j) token[FR]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"
    sums = ("sum_a = log-sum-exp over a of log_a, log_x, tilt_a",)

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.lex = Lex(EN, FR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        y = batch["y"]  # (pair, j)
        y_len = batch["y_len"]  # (pair,)
        inside_a = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, a)
        log_a = -y_len.to(self.one.dtype).log()  # (pair,)
        log_a_2 = torch.where(inside_a, log_a[:, None], -torch.inf)  # (pair, a)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        x = batch["x"]  # (pair, i)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        log_sum_a = log_sum_exp(log_a_2[:, None] + log_x)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        sum_i = torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)
        return impossible_alone(sum_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        y_len = batch["y_len"]  # (pair,)
        log_a = -y_len.to(self.one.dtype).log()  # (pair,)
        y = batch["y"]  # (pair, j)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        x = batch["x"]  # (pair, i)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        log_joint = log_a[:, None, None] + log_x + tilt["a"]  # (pair, i, a)
        inside_a = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (pair, a)
        log_joint_2 = torch.where(inside_a[:, None], log_joint, -torch.inf)  # (pair, i, a)
        log_sum_a = total(log_joint_2)  # (pair, i)
        x_len = batch["x_len"]  # (pair,)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return torch.where(inside_i, log_sum_a, 0.0).sum(-1)  # (pair,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (pair,)
        x = batch["x"]  # (pair, i)
        y = batch["y"]  # (pair, j)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], y.shape[1])  # (pair, i, a)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (pair, i)
        return {"a": value}, {"a": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        a: index[j], (pair, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        i_size = max(int(lengths["i"].max()), 1)
        y = batch["y"]  # (pair, j)
        noise_a = self.one.new_empty(n, i_size).uniform_()  # (pair, i)
        y_len = batch["y_len"]  # (pair,)
        a = (noise_a * y_len[:, None]).long()  # (pair, i)
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (pair, i)
        a_padded = torch.where(inside_i, a, 0)  # (pair, i)
        y_at = y.gather(-1, a)  # (pair, i)
        symbol_words, symbol_row = distinct(y_at)  # (distinct,), (pair, i)
        lex_raw = self.lex(symbol_words)  # (distinct, EN)
        lex_prob = lex_raw.softmax(-1)  # (distinct, EN)
        lex_prob_at = lex_prob[symbol_row]  # (pair, i, EN)
        x = decide(torch.distributions.Categorical(probs=lex_prob_at).expand((n, i_size)), rule, False)  # (pair, i)
        x_padded = up_to_the_ends(x, inside_i)  # (pair, i)
        return {"y": y, "a": a_padded, "x": x_padded, "y_len": y_len, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        missing = [plate for plate in ("i",) if plate not in (lengths or {})]
        if missing:
            raise ValueError(f"lengths must say how many elements each row has of {', '.join(missing)}")
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
