"""Parser: emitted by vispec from parser.vispec; imports torch and nothing else.

    log_prob: exact


    y     data; given by the data
    head  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
# backward: first_derivative
# heap: keep_pages
# layers.recurrent: Bidirectional
# layers.recurrent: Recurrent
# layers.recurrent: reverse
# rows: along_lengths
# rows: up_to_the_ends
# rows: with_room
# sums.chain: unused
# sums.logsum: impossible_alone
# sums.lookup: pick_last
# told.decide: predictive
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
# trees.tree: arc_scores
# trees.tree: decide_tree
# trees.tree: decided
# trees.tree: flat_trees
# trees.tree: heads_of
# trees.tree: is_tree
# trees.tree: tree_log_prob
# trees.tree: tree_mode
# trees.tree: tree_sample
# trees.tree: tree_shares


class Score(nn.Module):
    """(words: token[V]*) → (head: real[256]*, dependent: real[256]*, root: real*):

    embed(128) |> dropout(0.33) |> lstm(hidden=256, layers=2, bidirectional, dropout=0.33) |> dropout(0.33)
    """

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.dropout = nn.Dropout(0.33)
        self.lstm = Bidirectional("LSTM", 128, 256, 2, dropout=0.33)
        self.dropout2 = nn.Dropout(0.33)
        self.out = nn.Linear(512, 513)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, T, 512)."""
        return self.dropout2(self.lstm(self.dropout(self.embed(words)), words_mask))

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """head (*B, T, 256), dependent (*B, T, 256), root (*B, T)."""
        head, dependent, root = self.out(self.features(words, words_mask=words_mask)).split((256, 256, 1), -1)
        return head, dependent, root.squeeze(-1)


class Parser(nn.Module):
    """Batch: y (sentence, i) token[V]; head (sentence, i) tree[i]; y_len (sentence)."""

    exact = True
    estimator = "exact"

    def __init__(self, V: int):
        super().__init__()
        self.score = Score(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """log p of each row (sentence,), exact, in nats."""
        batch = with_room(batch)
        head = batch["head"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(head.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        y = batch["y"]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 256), (sentence, i)
        arc = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, i and root)
        arc_at = pick_last(arc, head)  # (sentence, i)
        sum_i = torch.where(inside_i, arc_at, 0.0).sum(-1)  # (sentence,)
        tree = tree_log_prob(arc, y_len)  # (sentence,)
        is_tree_ = is_tree(head, y_len)  # (sentence,)
        log_head = torch.where(is_tree_, sum_i - tree, -torch.inf)  # (sentence,)
        return impossible_alone(log_head)  # (sentence,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (sentence, i)
        y_len = batch["y_len"]  # (sentence,)
        inside_i = torch.arange(y.shape[1], device=self.one.device) < y_len[:, None]  # (sentence, i)
        score_head, score_dependent, score_root = self.score(y, words_mask=inside_i)  # (sentence, i, 256), (sentence, i)
        arc = arc_scores(score_head, score_dependent, score_root)  # (sentence, i, i and root)
        head = decide_tree(arc, length=y_len, read=False, rule=rule)  # (sentence, i)
        head_padded = up_to_the_ends(head, inside_i)  # (sentence, i)
        return {"y": y, "head": head_padded, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given. rule: "mean", "mode" or "sample".

        The mean of a categorical variable is its probabilities; one that is read again is at its mode. samples: for
        models with latents.
        """
        rows, kinds = len(batch["y"]), dict.fromkeys(("head",), "draw")
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """log_prob of the batch."""
        return self.log_prob(batch)
