"""Decisions about a sequence that ends by a symbol of its own. They stay outside the model, which says how probable what comes
next is. Whatever the rule, rows that have ended leave the batch.
"""

import torch
from torch import Tensor


def decoded(
    rows, begin, steps, batch: dict[str, Tensor], n: int, end: int, longest: int | Tensor, rule: str, **how
) -> dict[str, Tensor]:
    """Sequences (n, S, T) with their ends, how long they are (n, S), and their log-probabilities (n, S): the best come first.

    rule: "greedy", the likeliest element each time; "sample" of `samples` sequences, with `temperature`, from the `top_k`
    likeliest elements and the likeliest that have `top_p` together; "beam" of `width` sequences, ranked by log p divided by
    their length to the power `length_penalty`. longest: elements at most, of each row (n,). rows: the keys of the batch that
    have a row for each of n. Where fewer sequences are possible, the others have log-probability -inf. What was drawn before
    the first element is there too, under its name.
    """
    longest = torch.as_tensor(longest).expand(n)
    if rule == "beam":
        return beam_search(begin, steps, batch, n, end, longest, **how)
    if rule == "greedy":
        return one_by_one(begin, steps, batch, n, 1, end, longest, lambda log_prob: log_prob.argmax(-1))
    if rule == "sample":
        samples = how.pop("samples", 1)
        batch = {name: x.repeat_interleave(samples, 0) if name in rows else x for name, x in batch.items()}
        return one_by_one(begin, steps, batch, n, samples, end, longest, lambda log_prob: draw_element(log_prob, **how))
    raise ValueError(f"no rule {rule!r}; there are greedy, sample and beam")


def draw_element(log_prob: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """One element of each row (B,): of log-probabilities (B, V), sharpened by `temperature` and cut."""
    if temperature != 1:
        log_prob = (log_prob / temperature).log_softmax(-1)
    if 0 < top_k < log_prob.shape[-1]:
        log_prob = log_prob.masked_fill(log_prob < log_prob.topk(top_k).values[:, -1:], -torch.inf)
    if top_p < 1:
        best, order = log_prob.softmax(-1).sort(-1, descending=True)
        beyond = best.cumsum(-1) - best >= top_p  # the likeliest always stays
        log_prob = log_prob.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
    mass = log_prob.exp().cumsum(-1, dtype=torch.float64)  # torch.multinomial takes twice the time
    return torch.searchsorted(mass, torch.rand_like(mass[:, -1:]) * mass[:, -1:], right=True)[:, 0].clamp(
        max=mass.shape[-1] - 1
    )


def chosen_rows(kept: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in kept.items()}


def next_law(steps, kept: dict[str, Tensor], x: Tensor) -> Tensor:
    """Log-probabilities (B, V) of the last element of x."""
    found = steps[min(x.shape[1], len(steps)) - 1](kept, x)
    return found.expand(len(x), -1)


def one_by_one(
    begin, steps, batch: dict[str, Tensor], n: int, samples: int, end: int, longest: Tensor, choose
) -> dict[str, Tensor]:
    """Each sequence by itself, each element as `choose` says from log-probabilities (B, V)."""
    kept = begin(n * samples, batch)
    before = {name: value.unflatten(0, (n, samples)) for name, value in kept.items()}
    most, device = int(longest.max()), next(iter([*kept.values(), longest])).device
    longest = longest.to(device).repeat_interleave(samples)
    x, left = torch.zeros(n * samples, 1, dtype=torch.long, device=device), torch.arange(n * samples, device=device)
    tokens = torch.zeros(n * samples, most, dtype=torch.long, device=device)
    length, total = torch.zeros_like(longest), torch.zeros(n * samples, device=device)
    for at in range(most):
        log_prob = next_law(steps, kept, x)
        now = choose(log_prob)  # (B,)
        total = total.to(log_prob)
        total[left] += log_prob.gather(-1, now[:, None])[:, 0]
        tokens[left, at], length[left] = now, at + 1
        on = (now != end) & (at + 1 < longest[left])
        if not on.any():
            break
        x[:, -1] = now
        if not on.all():
            x, left, kept = x[on], left[on], chosen_rows(kept, on)
        x = torch.cat((x, x.new_zeros(len(x), 1)), 1)
    return before | {
        "tokens": tokens.view(n, samples, -1),
        "lengths": length.view(n, samples),
        "log_prob": total.view(n, samples),
    }


def beam_search(
    begin,
    steps,
    batch: dict[str, Tensor],
    n: int,
    end: int,
    longest: Tensor,
    width: int = 5,
    length_penalty: float = 0.0,
) -> dict[str, Tensor]:
    """The `width` best that end, of a search that goes on with the `width` likeliest beginnings of each length.

    An end counts where it is among the `width` likeliest continuations of these: short sequences that the model hardly ends
    there are none, and a width of 1 is the greedy choice, where lengths do not count. A row is done when nothing that it still
    holds can become better than the worst of its best ones."""
    kept = begin(n, batch)
    before = {name: value[:, None].expand(n, width, *value.shape[1:]) for name, value in kept.items()}
    device = next(iter([*kept.values(), longest])).device
    longest, most, left = longest.to(device), int(longest.max()), torch.arange(n, device=device)
    x, total, best = torch.zeros(n, 1, dtype=torch.long, device=device), torch.zeros(n, 1, device=device), {}
    for at in range(most):
        log_prob, several = next_law(steps, kept, x), total.shape[1]  # (B · S, V)
        x[:, -1], total = end, total.to(log_prob)
        likely, token = log_prob.topk(min(width + 1, log_prob.shape[-1]))  # one of them may be the end
        joint = total[..., None] + likely.unflatten(0, total.shape)  # (B, S, K)
        ended, least = total + log_prob[:, end].view(-1, several), joint.flatten(1).topk(min(width, joint[0].numel())).values
        ended = ended.masked_fill(ended < least[:, -1:], -torch.inf)
        new = ranked_sequences(ended, x, most, length_penalty)
        if not best:
            nothing = {"score": -torch.inf, "log_prob": -torch.inf}
            best = {name: x.new_full((n, width, *x.shape[2:]), nothing.get(name, 0)) for name, x in new.items()}
        add_best(best, left, new)
        joint = joint.masked_fill((token == end).view(joint.shape), -torch.inf)
        total, flat = joint.flatten(1).topk(min(width, joint[0].numel()))  # (B, S)
        rows = (flat // joint.shape[-1] + torch.arange(0, len(x), several, device=device)[:, None]).flatten()
        x = torch.cat((x[rows, :-1], token.view(len(left), -1).gather(1, flat).view(-1, 1)), 1)
        over = longest[left] <= at + 1
        if over.any():
            given_up = ranked_sequences(total, x, most, length_penalty)
            add_given_up(best, left[over], {name: value[over] for name, value in given_up.items() if name != "score"})
        on = ~over & (total[:, 0] / longest[left] ** length_penalty > best["score"][left, -1])
        if not on.any():
            break
        stay = on.repeat_interleave(total.shape[1])
        left, total, x, kept = left[on], total[on], x[stay], chosen_rows(kept, rows[stay])
        x = torch.cat((x, x.new_zeros(len(x), 1)), 1)
    return before | {name: best[name] for name in ("tokens", "lengths", "log_prob")}


def ranked_sequences(total: Tensor, x: Tensor, most: int, length_penalty: float) -> dict[str, Tensor]:
    """Sequences x (B · S, T) of log-probabilities (B, S), with their scores; those that are impossible have length 0."""
    tokens = torch.nn.functional.pad(x, (0, most - x.shape[1])).unflatten(0, total.shape)
    lengths = torch.where(total > -torch.inf, x.shape[1], 0)
    return {"score": total / x.shape[1] ** length_penalty, "log_prob": total, "lengths": lengths, "tokens": tokens}


def add_best(best: dict[str, Tensor], rows: Tensor, new: dict[str, Tensor]) -> None:
    """The best of those that there are and of new ones (B, S'), by their scores, in place."""
    both = {name: torch.cat((best[name][rows], value), 1) for name, value in new.items()}
    order = both["score"].sort(dim=1, descending=True, stable=True).indices[:, : best["score"].shape[1]]
    for name, value in both.items():
        best[name][rows] = pick_ranks(value, order)


def add_given_up(best: dict[str, Tensor], rows: Tensor, new: dict[str, Tensor]) -> None:
    """Sequences that are given up before their end stand behind all that have ended, in place."""
    places = torch.arange(best["score"].shape[1], device=rows.device)
    at = places - (best["score"][rows] > -torch.inf).sum(1, keepdim=True)  # (B, S)
    for name, value in new.items():
        last = value.shape[1] - 1
        free = ((at >= 0) & (at <= last)).view(*at.shape, *[1] * (value.dim() - 2))
        best[name][rows] = torch.where(free, pick_ranks(value, at.clamp(0, last)), best[name][rows])


def pick_ranks(value: Tensor, at: Tensor) -> Tensor:
    """value (B, S, *rest) at places (B, S')."""
    return value.gather(1, at.view(*at.shape, *[1] * (value.dim() - 2)).expand(*at.shape, *value.shape[2:]))
