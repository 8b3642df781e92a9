"""InducedDependencies: emitted by vispec from induced_dependencies.vispec; imports torch and nothing else.

    log_prob: exact

    tree_head = tree of head along i (one elimination an element) of log_x
    arcs_head_over_i = product over i of arcs_head
    total = product of norm_head, tree_head, arcs_head_over_i

    head  trees, summed; discrete; a tree along i: one elimination an element
    x     data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# distinct: distinct
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
# trees.arborescence: arborescence
# trees.arborescence: best_tree
# trees.arborescence: find_circle
# trees.elimination: derivatives
# trees.elimination: eliminate_logs
# trees.elimination: eliminate_numbers
# trees.elimination: inside
# trees.elimination: log_derivatives
# trees.elimination: tree_gradient
# trees.elimination: tree_save
# trees.elimination: tree_shapes
# trees.elimination: tree_sums
# trees.elimination: weights_of_arcs
# trees.tree: decide_tree
# trees.tree: decided
# trees.tree: flat_trees
# trees.tree: heads_of
# trees.tree: log_number_of_trees
# trees.tree: total_of_trees
# trees.tree: tree_depth
# trees.tree: tree_log_prob
# trees.tree: tree_mode
# trees.tree: tree_sample
# trees.tree: tree_score
# trees.tree: tree_shares
# trees.tree: tree_total


class Attach(nn.Module):
    """(head: token[V]) → simplex[V]: embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V + 1, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, V)

    def features(self, head: Tensor) -> Tensor:
        """head (*B) → (*B, 64)."""
        return self.mlp(self.embed(head))

    def forward(self, head: Tensor) -> Tensor:
        """(*B, V) unnormalised log-probabilities."""
        return self.out(self.features(head))


class InducedDependencies(nn.Module):
    """Batch: x (sentence, i) token[V]; x_len (sentence)."""

    exact = True
    estimator = "exact"
    sums = ("tree_head = tree of head along i (one elimination an element) of log_x, tilt_head",)

    def __init__(self, V: int):
        super().__init__()
        self.V = V
        self.attach = Attach(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        joined = F.pad(x, (1, 0), value=self.V)  # (sentence, i and root)
        symbol_words, symbol_row = distinct(joined)  # (distinct,), (sentence, head)
        log_x = selected_log_softmax(
            self.attach.features(symbol_words), self.attach.out, symbol_row[:, None], x[:, :, None]
        )  # (sentence, i, head)
        x_len = batch["x_len"]  # (sentence,)
        tree = tree_log_prob(log_x, x_len)  # (sentence,)
        x_len_2 = x_len.to(self.one.dtype)  # (sentence,)
        log = log_number_of_trees(x_len_2)  # (sentence,)
        return impossible_alone(tree - log)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    def tilted(self, batch: dict[str, Tensor], total, tilt: dict[str, Tensor]) -> Tensor:
        """log p of each row with `tilt` added to the latents' log-joint and `total` for sums; its gradient answers a query."""
        batch = with_room(batch)
        x = batch["x"]  # (sentence, i)
        joined = F.pad(x, (1, 0), value=self.V)  # (sentence, i and root)
        symbol_words, symbol_row = distinct(joined)  # (distinct,), (sentence, head)
        log_x = selected_log_softmax(
            self.attach.features(symbol_words), self.attach.out, symbol_row[:, None], x[:, :, None]
        )  # (sentence, i, head)
        x_len = batch["x_len"]  # (sentence,)
        tree = tree_total(total, log_x + tilt["head"], x_len)  # (sentence,)
        x_len_2 = x_len.to(self.one.dtype)  # (sentence,)
        log = log_number_of_trees(x_len_2)  # (sentence,)
        return tree - log  # (sentence,)

    def unknowns(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A tilt of nothing for each latent, and which of its elements count where rows differ in length."""
        x_len = batch["x_len"]  # (sentence,)
        x = batch["x"]  # (sentence, i)
        value = self.one.new_zeros(x_len.shape[0], x.shape[1], x.shape[1] + 1)  # (sentence, i, head)
        inside_i = torch.arange(x.shape[1], device=self.one.device) < x_len[:, None]  # (sentence, i)
        return {"head": value}, {"head": inside_i}

    @torch.no_grad()
    def posterior(self, batch: dict[str, Tensor], query: str = "marginals", other: nn.Module | None = None) -> dict:
        """Exact posteriors of the summed latents, and the guides of the drawn ones.

        query: "marginals", probabilities with the values last; "mode", the best joint assignment; "kbest(5)", the five best;
        "sample", a draw; "entropy", in nats, of each value and of all together; "kl", the divergence from that of `other`.
        head: tree[i], (sentence, i).
        """
        batch = with_room(batch)
        return ask(self, batch, query, *self.unknowns(batch), other=other)

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        i_size = max(int(lengths["i"].max()), 1)
        inside_i = torch.arange(i_size, device=self.one.device) < lengths["i"][:, None]  # (sentence, i)
        value = self.one.new_zeros(n, i_size, i_size + 1)  # (sentence, i, i and root)
        head = decide_tree(value, length=lengths["i"], read=True, rule='sample')  # (sentence, i)
        head_padded = torch.where(inside_i, head, 0)  # (sentence, i)
        value_2 = self.one.new_zeros(n, i_size)  # (sentence, i)
        value_3 = value_2.long()  # (sentence, i)
        joined = F.pad(value_3, (1, 0), value=self.V)  # (sentence, i and root)
        joined_at = joined.gather(-1, head)  # (sentence, i)
        attach = self.attach(joined_at)  # (sentence, i, V)
        tree = tree_depth(head)  # (sentence, i)
        test = tree == 1  # (sentence, i)
        state = self.one.new_zeros(n, i_size, i_size, dtype=torch.long)  # (sentence, level, i)
        for level in range(i_size):
            if level == 0:
                value_4 = decide(
                    torch.distributions.Categorical(logits=attach).expand((n, i_size)), rule, True
                )  # (sentence, i)
                value_5 = torch.where(test, value_4, value_3)  # (sentence, i)
                state[:, level] = value_5
            else:
                joined_2 = F.pad(state[:, level - 1], (1, 0), value=self.V)  # (sentence, i and root)
                joined_at_2 = joined_2.gather(-1, head)  # (sentence, i)
                attach_2 = self.attach(joined_at_2)  # (sentence, i, V)
                value_6 = decide(
                    torch.distributions.Categorical(logits=attach_2).expand((n, i_size)), rule, True
                )  # (sentence, i)
                value_5 = torch.where(tree == level + 1, value_6, state[:, level - 1])  # (sentence, i)
                state[:, level] = value_5
        x = state[:, i_size - 1]  # (sentence, i)
        x_padded = up_to_the_ends(x, inside_i)  # (sentence, i)
        return {"head": head_padded, "x": x_padded, "x_len": lengths["i"]}

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
        rows, kinds = len(next(iter(batch.values()))), {"x": "draw"}
        return predictive(lambda by: self.generate(rows, batch, {"i": batch["x_len"]}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
