"""RationaleScore: emitted by vispec from rationale_score.vispec; imports torch and nothing else.

    log_prob: a bound or estimate, score(samples=8, baseline=loo)

    log p = log_x

    y  data; given by the data
    f  score(samples=8, baseline=loo); asked for score
    x  data; scored at the data
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def bernoulli_log_prob(value: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """log P(value) of a bit with log-odds `logit`, elementwise; log-odds of ±inf make one value certain, the other -inf."""
    return torch.nn.functional.logsigmoid((2 * value - 1) * logit)


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once


def decide(law: torch.distributions.Distribution, rule: str, read: bool) -> Tensor:
    """One value (*B, *event) of a law: rule "sample", "mode" (its most probable value) or "mean".

    The mean of a categorical law is its probabilities (*B, K); where the value is read again (`read`), its mode stands in.
    """
    if rule == "sample":
        return law.sample()
    finite = isinstance(law, torch.distributions.Categorical)
    if rule == "mean" and not (finite and read):
        return law.probs if finite else law.mean
    if isinstance(law, torch.distributions.Bernoulli):
        return (law.probs > 0.5).to(law.probs.dtype)  # torch's own mode is nan at 1/2
    return law.mode


def predictive(generate, kinds: dict[str, str], rule: str, samples: int) -> dict[str, Tensor]:
    """What generate(rule) gives of each variable of `kinds`, over that many draws of the latents.

    "mean": the mean over the draws, which of a finite variable is the probabilities of its values. "mode": the most probable
    value under these, and of numbers the mean. "sample", or kind "draw": what the first draw gives.
    kinds: "probabilities" (*B, K); "bit"; "count"; "number"; "draw", which cannot be averaged."""
    found = generate(rule) if rule == "sample" or "draw" in kinds.values() else {}
    averaged = [name for name, kind in kinds.items() if rule != "sample" and kind != "draw"]
    if averaged:
        mean = {name: value / samples for name, value in generate("mean").items() if name in averaged}
        for _ in range(samples - 1):
            again = generate("mean")
            mean = {name: value.add_(again[name], alpha=1 / samples) for name, value in mean.items()}
        decisions = {"probabilities": lambda p: p.argmax(-1), "bit": lambda p: (p > 0.5).to(p.dtype), "count": torch.round}
        for name, value in mean.items():
            found[name] = decisions[kinds[name]](value) if rule == "mode" and kinds[name] in decisions else value
    return {name: found[name] for name in kinds}


def distinct(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct values (U,) and the row of each element among them, of tokens' shape.

    Their number is in the data, which a single traced graph cannot know: while compiling, every element is a row of its own.
    """
    if torch.compiler.is_compiling():
        return tokens.flatten(), torch.arange(tokens.numel(), device=tokens.device).view(tokens.shape)
    values, row = torch.unique(tokens, return_inverse=True)
    return values, row


def signal_of(weight: Tensor, baseline: Tensor | float) -> Tensor:
    """What a draw is worth beside its baseline, without gradient; 0 where it is impossible."""
    return torch.where(weight == -torch.inf, 0.0, weight - baseline).detach()


def mean_of_others(weight: Tensor) -> Tensor:
    """For each of the samples (S, B) the mean of the others that are possible, without gradient; 0 where there is none."""
    some = weight.detach() != -torch.inf
    finite = torch.where(some, weight.detach(), 0.0)
    return (finite.sum(0) - finite) / (some.sum(0) - some.long()).clamp(min=1)


def score_bound(weight: Tensor, log_q: Tensor, baseline: Tensor | float) -> Tensor:
    """The mean of the log-weights, each sample's signal less its baseline."""
    return (impossible_alone(weight) + signal_of(weight, baseline) * gradient_alone(log_q)).mean(0)


def score_bound_loo(weight: Tensor, log_q: Tensor) -> Tensor:
    """Each sample against the mean of the others (Kool et al. 2019); one sample alone has no baseline."""
    return score_bound(weight, log_q, mean_of_others(weight))


def keep_pages() -> None:
    """Frees one block of 31 MiB, never written: from then on glibc keeps up to 62 MiB of freed memory for the next step.

    Otherwise it returns a step's tensors to the system, and a fifth of the next step's time may go into fresh pages for them.
    It learns from the largest block of up to 32 MiB that was freed (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Σ_t weight[t] x[t] (*B, W), weight (*B, T); as products of matrices where there are more sums than sequences."""
    if weight.shape[:-1].numel() > x.shape[:-2].numel():
        return torch.einsum("...t,...tw->...w", weight, x)  # no copies of x along the further axes
    return (x * weight[..., None]).sum(-2)


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean (*B, W) of what counts, zeros where nothing does."""
    if mask is None:
        return x.sum(-2) / max(x.shape[-2], 1)
    return weighted_sum(x, mask / mask.sum(-1, keepdim=True).clamp(min=1).to(x.dtype))


def after_mean(layers: nn.Sequential, x: Tensor, mask: Tensor | None) -> Tensor:
    """layers(masked_mean(x, mask)) for layers that begin with a linear one; it comes before the mean where there are more means
    than elements, its bias as one more element that always counts."""
    first, *others = layers
    if mask is None or mask.shape[:-1].numel() <= x.shape[:-1].numel() or type(first) is not nn.Linear:
        return layers(masked_mean(x, mask))
    h = weighted_sum(before_mean(first, x), shares(mask, x))
    for layer in others:
        h = layer(h)
    return h


def before_mean(first: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer of each element, and its bias as one more: (*B, T, W) → (*B, T + 1, H)."""
    return torch.cat((F.linear(x, first.weight), first.bias.expand(*x.shape[:-2], 1, -1)), -2)


def shares(mask: Tensor, like: Tensor) -> Tensor:
    """What each element weighs in the mean of those that count, and 1 for the bias: (*B, T) → (*B, T + 1)."""
    weight = mask.to(like.dtype)
    return F.pad(weight / weight.sum(-1, keepdim=True).clamp(min=1), (0, 1), value=1.0)


def with_room(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The batch with one element of padding along each plate of which no row has any."""
    return {
        name: x if 0 not in x.shape[1:] else x.new_zeros(len(x), *(max(n, 1) for n in x.shape[1:])) for name, x in batch.items()
    }


def impossible_alone(log_prob: Tensor) -> Tensor:
    """The same; where it is -inf, it has no gradient for anything that it was added up from."""
    return log_prob.masked_fill(log_prob == -torch.inf, -torch.inf)


class GradientAlone(torch.autograd.Function):
    """0, with the gradient of the argument: a term of an estimate's gradient, of which no value is the integral."""

    @staticmethod
    def forward(ctx, x):
        return torch.zeros_like(x)

    @staticmethod
    @first_derivative
    def backward(ctx, grad):
        return grad


def gradient_alone(x: Tensor) -> Tensor:
    """0 everywhere; its gradient goes to x, once."""
    return GradientAlone.apply(x)


def logits_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """log_softmax(logits)[value] for logits (*B, V) and value broadcast to (*B) → (*B)."""
    lead = logits.shape[:-1]
    return -F.cross_entropy(logits.flatten(0, -2), value.expand(lead).flatten(), reduction="none").view(lead)


class Select(nn.Module):
    """(word: token[V]) → unit: embed(64) |> mlp([64])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 64)
        self.mlp = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
        self.out = nn.Linear(64, 1)

    def features(self, word: Tensor) -> Tensor:
        """word (*B) → (*B, 64)."""
        return self.mlp(self.embed(word))

    def forward(self, word: Tensor) -> Tensor:
        """(*B) log-odds."""
        return self.out(self.features(word)).squeeze(-1)


class Classify(nn.Module):
    """(words: token[V]*) → simplex[5]: embed(128) |> mean |> mlp([128])."""

    def __init__(self, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 128)
        self.mlp = nn.Sequential(nn.Linear(128, 128), nn.ReLU())
        self.out = nn.Linear(128, 5)

    def features(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """words (*B, T) → (*B, 128)."""
        return after_mean(self.mlp, self.embed(words), words_mask)

    def forward(self, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        """(*B, 5) unnormalised log-probabilities."""
        return self.out(self.features(words, words_mask=words_mask))


class RationaleScore(nn.Module):
    """Batch: y (review, i) token[V]; x (review) category[5]; y_len (review)."""

    exact = False
    estimator = "score(samples=8, baseline=loo)"

    def __init__(self, V: int):
        super().__init__()
        self.select = Select(V)
        self.classify = Classify(V)
        self.register_buffer("one", torch.ones(()), persistent=False)  # its dtype and device are the module's
        keep_pages()

    def log_prob(self, batch: dict[str, Tensor]) -> Tensor:
        """A lower bound on log p of each row (review,), in nats: score(samples=8, baseline=loo)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((8, y.shape[0], y.shape[1],)).sample()  # (s*, review, i)
        x = batch["x"]  # (review,)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (s*, review, i)
        chosen = inside_i & f_chosen  # (s*, review, i)
        classify = self.classify(y, words_mask=chosen)  # (s*, review, 5)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        log_q_f = bernoulli_log_prob(f, select_2)  # (s*, review, i)
        log_f_over_i = torch.where(inside_i, log_q_f, 0.0).sum(2)  # (s*, review)
        return score_bound_loo(log_x, log_f_over_i)  # (review,)

    def loss(self, batch: dict[str, Tensor], num_data: int) -> Tensor:
        """Minibatch estimate of -log p(data): (N/M) Σ over the rows of the batch."""
        log_prob = self.log_prob(batch)
        return log_prob.sum() * (-num_data / len(log_prob))

    @torch.no_grad()
    def log_weights(self, batch: dict[str, Tensor], samples: int) -> Tensor:
        """log p(row, latents) − log q(latents) at draws of the latents, (samples, review)."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = torch.distributions.Bernoulli(logits=select_2).expand((samples, y.shape[0], y.shape[1],)).sample()  # (s*, review, i)
        x = batch["x"]  # (review,)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (s*, review, i)
        chosen = inside_i & f_chosen  # (s*, review, i)
        classify = self.classify(y, words_mask=chosen)  # (s*, review, 5)
        log_x = logits_log_prob(classify, x)  # (s*, review)
        return log_x

    def generate(self, n: int, batch: dict[str, Tensor], lengths: dict[str, Tensor], rule: str) -> dict[str, Tensor]:
        """Every variable, each after those that its law reads; observed ones by the rule, latent ones drawn."""
        batch = with_room(batch)
        y = batch["y"]  # (review, i)
        y_words, y_row = distinct(y)  # (review, i)
        select = self.select(y_words)  # (distinct,)
        select_2 = select[y_row]  # (review, i)
        f = decide(torch.distributions.Bernoulli(logits=select_2).expand((n, y.shape[1],)), "sample", True)  # (review, i)
        y_len = batch["y_len"]  # (review,)
        at_i = torch.arange(y.shape[1], device=self.one.device)  # (i,)
        inside_i = at_i < y_len[:, None]  # (review, i)
        f_chosen = f.bool()  # (review, i)
        chosen = inside_i & f_chosen  # (review, i)
        classify = self.classify(y, words_mask=chosen)  # (review, 5)
        x = decide(torch.distributions.Categorical(logits=classify).expand((n,)), rule, False)  # (review,)
        return {"y": y, "f": f, "x": x, "y_len": y_len}

    @torch.no_grad()
    def sample(self, n: int, batch: dict | None = None, lengths: dict | None = None) -> dict[str, Tensor]:
        """n rows of every variable, latents too, drawn in the order of the model; `batch` holds y.

        lengths: for each ragged plate that the batch does not size, how many elements each row has (n,).
        """
        return self.generate(n, batch or {}, lengths or {}, "sample")

    @torch.no_grad()
    def predict(self, batch: dict[str, Tensor], rule: str = "mean", samples: int = 100) -> dict[str, Tensor]:
        """Each observed variable, from what is given, over so many draws of the latents.

        rule: "mean", "mode" or "sample". The mean of a categorical variable is its probabilities, its mode the likeliest
        value under them. What is read again is at its mode in one draw; a sample is one draw of all.
        """
        rows, kinds = len(batch["y"]), {"x": "probabilities"}
        return predictive(lambda by: self.generate(rows, batch, {}, by), kinds, rule, samples)
