"""Ibm2: emitted by vispec from ibm2.vispec; imports torch and nothing else.

    log_prob: exact

    sum_a = log-sum-exp over a of log_a, log_x
    sum_a_over_i = product over i of sum_a

    y  data; given by the data
    a  summed; discrete; independent in each element of its plates
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# constraints: in_domain
# constraints: softplus_inverse
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


class Ibm2(nn.Module):
    """Batch: y (pair, j) token[FR]; x (pair, i) token[EN]; y_len (pair); x_len (pair)."""

    exact = True
    estimator = "exact"
    sums = ("sum_a = log-sum-exp over a of log_a, log_x, tilt_a",)

    def __init__(self, EN: int, FR: int):
        super().__init__()
        self.raw_tension = nn.Parameter(torch.zeros(()))
        self.null = nn.Parameter(torch.zeros(()))
        self.lex = Lex(EN, FR)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def tension(self) -> Tensor:
        """positive."""
        return F.softplus(self.raw_tension)

    @tension.setter
    def tension(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = softplus_inverse(value)
            self.raw_tension.copy_(in_domain(raw, F.softplus(raw), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (pair,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (pair, i)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        x_len = batch["x_len"]  # (pair,)
        ratio = at_i.to(self.one.dtype) / x_len.clamp(min=1)[:, None]  # (pair, i)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        y_len = batch["y_len"]  # (pair,)
        ratio_2 = at_a.to(self.one.dtype) / y_len.clamp(min=1)[:, None]  # (pair, j)
        abs_ = (ratio[:, None] - ratio_2[:, :, None]).abs()  # (pair, j, i)
        tension = F.softplus(self.raw_tension)
        test = at_a == 0  # (j,)
        null = torch.where(test[:, None], self.null, -tension * abs_)  # (pair, j, i)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        null_2 = torch.where(inside_a[:, :, None], null, -torch.inf)  # (pair, j, i)
        log_null = null_2.log_softmax(1)  # (pair, j, i)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        log_joint = log_null + log_x.transpose(-2, -1)  # (pair, a, i)
        log_joint_2 = torch.where(inside_a[:, :, None], log_joint, -torch.inf)  # (pair, a, i)
        log_sum_a = log_sum_exp(log_joint_2.transpose(-2, -1))  # (pair, i)
        log_sum_a_2 = torch.where(at_i < x_len[:, None], log_sum_a, 0.0)  # (pair, i)
        log_sum_a_over_i = log_sum_a_2.sum(-1)  # (pair,)
        return impossible_alone(log_sum_a_over_i)  # (pair,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        x = batch["x"]  # (pair, i)
        at_i = torch.arange(x.shape[1], device=self.one.device)  # (i,)
        x_len = batch["x_len"]  # (pair,)
        ratio = at_i.to(self.one.dtype) / x_len.clamp(min=1)[:, None]  # (pair, i)
        y = batch["y"]  # (pair, j)
        at_a = torch.arange(y.shape[1], device=self.one.device)  # (a,)
        y_len = batch["y_len"]  # (pair,)
        ratio_2 = at_a.to(self.one.dtype) / y_len.clamp(min=1)[:, None]  # (pair, j)
        abs_ = (ratio[:, None] - ratio_2[:, :, None]).abs()  # (pair, j, i)
        tension = F.softplus(self.raw_tension)
        test = at_a == 0  # (j,)
        null = torch.where(test[:, None], self.null, -tension * abs_)  # (pair, j, i)
        inside_a = at_a < y_len[:, None]  # (pair, a)
        null_2 = torch.where(inside_a[:, :, None], null, -torch.inf)  # (pair, j, i)
        log_null = null_2.log_softmax(1)  # (pair, j, i)
        y_words, y_row = distinct(y)  # (distinct,), (pair, a)
        log_x = selected_log_softmax(self.lex.features(y_words), self.lex.out, y_row[:, None], x[:, :, None])  # (pair, i, a)
        log_joint = log_null + log_x.transpose(-2, -1) + tilt["a"].transpose(-2, -1)  # (pair, a, i)
        log_joint_2 = torch.where(inside_a[:, :, None], log_joint, -torch.inf)  # (pair, a, i)
        log_sum_a = total(log_joint_2.transpose(-2, -1))  # (pair, i)
        log_sum_a_2 = torch.where(at_i < x_len[:, None], log_sum_a, 0.0)  # (pair, i)
        return log_sum_a_2.sum(-1)  # (pair,)

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
        at_j = torch.arange(y.shape[1], device=self.one.device)  # (j,)
        y_len = batch["y_len"]  # (pair,)
        ratio = at_j.to(self.one.dtype) / y_len.clamp(min=1)[:, None]  # (pair, j)
        at_i = torch.arange(i_size, device=self.one.device)  # (i,)
        max_i = lengths["i"].clamp(min=1)  # (pair,)
        ratio_2 = at_i.to(self.one.dtype) / max_i[:, None]  # (pair, i)
        abs_ = (ratio_2[:, None] - ratio[:, :, None]).abs()  # (pair, j, i)
        tension = F.softplus(self.raw_tension)
        test = at_j == 0  # (j,)
        null = torch.where(test[:, None], self.null, -tension * abs_)  # (pair, j, i)
        inside_j = at_j < y_len[:, None]  # (pair, j)
        null_2 = torch.where(inside_j[:, :, None], null, -torch.inf)  # (pair, j, i)
        null_prob = null_2.softmax(1)  # (pair, j, i)
        a = torch.distributions.Categorical(probs=null_prob.transpose(-2, -1)).sample()  # (pair, i)
        inside_i = at_i < lengths["i"][:, None]  # (pair, i)
        a_padded = torch.where(inside_i, a, 0)  # (pair, i)
        y_at = y.gather(-1, a)  # (pair, i)
        lex = self.lex(y_at)  # (pair, i, EN)
        x = decide(torch.distributions.Categorical(logits=lex).expand((n, i_size)), rule, False)  # (pair, i)
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
