"""Pcfg: emitted by vispec from pcfg.vispec; imports torch and nothing else.

    log_prob: exact

    parse_t = parse of t along i (the inside algorithm) of root_t, rule_t, log_x

    t  parses, summed; discrete; a parse along i: the inside algorithm
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
# backward: first_derivative
# constraints: in_domain
# heap: keep_pages
# rows: along_lengths
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
# trees.brackets: algebra_of
# trees.brackets: counted
# trees.brackets: told_of
# trees.grammar: decide_grammar
# trees.grammar: divided
# trees.grammar: grammar_by
# trees.grammar: grammar_gradient
# trees.grammar: grammar_log_prob
# trees.grammar: grammar_save
# trees.grammar: grammar_shapes
# trees.grammar: grammar_sums
# trees.grammar: grammar_total
# trees.grammar: inside_pass
# trees.grammar: leaf_rules
# trees.grammar: leaf_tables
# trees.grammar: nothing
# trees.grammar: outside_pass
# trees.grammar: raised
# trees.grammar: rows
# trees.grammar: rows_of
# trees.grammar: times
# trees.grammar: ways
# trees.grammar: within
# trees.phrases: Phrased
# trees.phrases: best_parse
# trees.phrases: drawn_parse
# trees.phrases: in_preorder
# trees.phrases: one_parse
# trees.ranked_parses: is_node
# trees.ranked_parses: k_best_parses
# trees.ranked_parses: left_out
# trees.ranked_parses: with_kept


class Pcfg(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = True
    estimator = "exact"
    sums = ("parse_t = parse of t along i (the inside algorithm) of root_t, rule_t, log_x, tilt_t",)

    def __init__(self, V: int, NT: int = 8, PT: int = 16):
        super().__init__()
        self.PT = PT
        self.raw_root = nn.Parameter(torch.zeros(NT))  # (NT)
        self.rule = nn.Parameter(torch.randn(NT, NT + PT, NT + PT))  # (a, NT + PT, NT + PT)
        self.raw_emit = nn.Parameter(torch.randn(PT, V) * 0.1)  # (p, V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    @property
    def root(self) -> Tensor:
        """simplex[NT]."""
        return self.raw_root.softmax(-1)

    @root.setter
    def root(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_root.copy_(in_domain(raw, raw.softmax(-1), value))

    @property
    def emit(self) -> Tensor:
        """simplex[V], one for each element of p."""
        return self.raw_emit.softmax(-1)

    @emit.setter
    def emit(self, value: Tensor) -> None:
        with torch.no_grad():
            raw = value.log()
            self.raw_emit.copy_(in_domain(raw, raw.softmax(-1), value))

    def __setattr__(self, name: str, value) -> None:
        """A parameter takes the numbers that it is assigned."""
        own = self.__dict__.get("_parameters", {}).get(name)
        if own is None or isinstance(value, nn.Parameter):
            return super().__setattr__(name, value)
        with torch.no_grad():
            own.copy_(torch.as_tensor(value))

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        log_sum_t_right = log_sum_exp(self.rule.flatten(-2))  # (t_parent,)
        difference = self.rule - log_sum_t_right[:, None, None]  # (t_parent, t_left, t_right)
        log_emit = self.raw_emit.log_softmax(-1)  # (t, V)
        x = batch["x"]  # (sentence, i)
        log_x = columns(log_emit, x)  # (sentence, i, t)
        log_root = self.raw_root.log_softmax(-1)  # (NT,)
        x_len = batch["x_len"]  # (sentence,)
        return grammar_log_prob(log_root, difference, log_x, x_len)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        log_emit = self.raw_emit.log_softmax(-1)  # (t, V)
        x = batch["x"]  # (sentence, i)
        log_x = columns(log_emit, x)  # (sentence, i, t)
        log_sum_t_right = log_sum_exp(self.rule.flatten(-2))  # (t_parent,)
        difference = self.rule - log_sum_t_right[:, None, None]  # (t_parent, t_left, t_right)
        log_root = self.raw_root.log_softmax(-1)  # (NT,)
        x_len = batch["x_len"]  # (sentence,)
        return grammar_total(total, log_root, difference, log_x + tilt["t"], x_len)  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (sentence,)
        x = batch["x"]  # (sentence, i)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], self.PT)  # (sentence, i, t)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        return {"t": value}, {"t": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        "tree": the best parse, its nodes in preorder, each by first element, last element and label.
        "tree(sample)": a parse that is drawn.
        t: parse[i, NT, PT], (sentence, i).
        """
        batch = with_room(batch)
        if query.startswith("kbest("):
            return k_best_parses(self.tilted, batch, *self.unknowns(batch), "t", int(query[6:-1]), apart=True)
        if query == "tree":
            return {"t": best_parse(self.tilted, batch, *self.unknowns(batch), "t")}
        if query == "tree(sample)":
            return {"t": drawn_parse(self.tilted, batch, *self.unknowns(batch), "t")}
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        i_size = max(int(lengths["i"].max()), 1)
        log_sum_t_right = log_sum_exp(self.rule.flatten(-2))  # (t_parent,)
        difference = self.rule - log_sum_t_right[:, None, None]  # (t_parent, t_left, t_right)
        log_root = self.raw_root.log_softmax(-1)  # (NT,)
        value = self.one.new_zeros(n, i_size, self.PT)  # (sentence, i, PT)
        t = decide_grammar(log_root, difference, value, length=lengths["i"], rule='sample')  # (sentence, i, 4)
        t_2 = t[:, :, 0]  # (sentence, i)
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (sentence, i)
        t_padded = torch.where(inside_i, t_2, 0)  # (sentence, i)
        emit = self.raw_emit.softmax(-1)  # (p, V)
        emit_at = emit[t_2]  # (sentence, i, V)
        x = decide(torch.distributions.Categorical(probs=emit_at).expand((n, i_size)), rule, False)  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {"t": t_padded, "x": x_padded, "x_len": lengths["i"]}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; nothing need be given.

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
