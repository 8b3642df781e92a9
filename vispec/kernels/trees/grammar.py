"""Sums over the parses of a sentence by a probabilistic context-free grammar in Chomsky normal form: log Z with exact gradients
by the inside and outside passes (Baker 1979; Lari and Young 1990), and under other algebras. O(n³) time, 2 n² S numbers a row.

    Z = Σ_parses exp(root[A of the whole] + Σ_nodes rule[A, B, C] + Σ_i seen[i, P of i])

S symbols A stand for phrases of two elements at least, P preterminals for one element each; a child is a symbol, or a
preterminal by a number from S on. root is (S,) or (*B, S), rule (S, S + P, S + P) or (*B, S, S + P, S + P), parent × left ×
right, seen (*B, n, P), all in nats; length (*B,) says how many elements count. Fewer than two elements have no parse: Z = 0.

A stretch of width w from i on is divided after its first k elements. All stretches of one width are computed at once: their
parts of two elements at least by one batched matrix product over k and one with the rules; a part of one element by its
preterminals' rules, which are summed before, once an element. What stands left lies by its first element, the width last; what
stands right by its last element, the width last and backwards: so both are slices. Each stretch is scaled to a largest number
of 1, in float64. Where all rules are possible and within e^200 of each other no symbol of a stretch can be lighter than that
beside another, and nothing counts that underflows; elsewhere everything is in logs.
"""

import torch
from torch import Tensor

from vispec.kernels.backward import first_derivative
from vispec.kernels.rows import along_lengths
from vispec.kernels.sums.chain import unused
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.trees.brackets import algebra_of, told_of

WITHIN = 200.0  # of each other are rules whose products may be computed as numbers


def grammar_log_prob(
    root: Tensor, rule: Tensor, seen: Tensor, length: Tensor | None = None, over: Tensor | None = None
) -> Tensor:
    """log Z (*B,), -inf where no parse is possible. Its gradients are expected counts, 0 without a parse. over: as of
    grammar_by."""
    seen = along_lengths(seen, length, 2)
    if seen.numel() == 0 or not (within(rule.detach()) and (over is None or within(over.detach(), impossible=True))):
        return grammar_by(log_sum_exp, root, rule, seen, length, over)
    batch, n = rows_of(root, rule, seen, over), seen.shape[-2]
    root, rule = rows(root, 1, batch), rows(rule, 3, batch)
    seen = seen.expand(*batch, *seen.shape[-2:]).reshape(-1, *seen.shape[-2:])
    lengths = torch.full(batch, n, device=seen.device) if length is None else length.expand(batch)
    if over is not None:
        over = over.expand(*batch, *over.shape[-3:]).reshape(-1, *over.shape[-3:])
    grad = torch.is_grad_enabled() and any(each.requires_grad for each in (root, rule, seen, over) if each is not None)
    return grammar_sums(root, rule, seen, lengths.reshape(-1), over, grad)[0].view(batch)


def within(scores: Tensor, impossible: bool = False) -> bool:
    """Whether scores are possible and not too far apart; impossible: or those that are."""
    if impossible:
        scores = scores.masked_fill(scores == -torch.inf, 0.0)
    return bool(scores.min() > scores.max() - WITHIN)


def rows_of(root: Tensor, rule: Tensor, seen: Tensor, over: Tensor | None = None) -> torch.Size:
    """*B: the leading axes of all together."""
    more = () if over is None else (over.shape[:-3],)
    return torch.broadcast_shapes(seen.shape[:-2], root.shape[:-1], rule.shape[:-3], *more)


def rows(each: Tensor, dims: int, batch: torch.Size) -> Tensor:
    """A table of so many dimensions for every row (B, ...), or one for all (1, ...)."""
    own = each.shape[each.dim() - dims :]
    return each.view(1, *own) if each.dim() == dims else each.expand(*batch, *own).reshape(-1, *own)


def grammar_total(
    total, root: Tensor, rule: Tensor, seen: Tensor, length: Tensor | None = None, over: Tensor | None = None
) -> Tensor:
    """The sum over parses under an algebra (*B,), which may ask for the phrases."""
    if hasattr(total, "unranked"):
        total = total.unranked()
    seen = along_lengths(seen, length, 2)
    if hasattr(total, "tilts"):
        batch, n = rows_of(root, rule, seen, over), seen.shape[-2]
        tilt = total.tilt(seen, (*batch, n, n, root.shape[-1]))
        return grammar_by(total, root, rule, seen, length, tilt if over is None else over + tilt)
    if total is log_sum_exp:
        return grammar_log_prob(root, rule, seen, length, over)
    return grammar_by(total, root, rule, seen, length, over)


def grammar_by(
    total, root: Tensor, rule: Tensor, seen: Tensor, length: Tensor | None = None, over: Tensor | None = None
) -> Tensor:
    """The same, which sums by total alone: in logs for any scores, and slower. over (*B, n, n, S): a score besides for each
    symbol over each stretch, by first and last element."""
    seen = along_lengths(seen, length, 2)
    dtype, S, P, n = seen.dtype, root.shape[-1], seen.shape[-1], seen.shape[-2]
    batch = rows_of(root, rule, seen, over)
    root, rule, seen = root.double(), rule.double().expand(*batch, *rule.shape[-3:]), seen.double().expand(*batch, n, P)
    if length is not None:
        seen = seen.masked_fill(~(torch.arange(n, device=seen.device) < length.unsqueeze(-1)).unsqueeze(-1), 0.0)
    by_left, by_right = rule[..., None, :, S:, :], rule[..., None, :, :, S:]  # (*B, 1, S, P, S + P), (*B, 1, S, S + P, P)
    leaf_left = total((by_left + seen[..., None, :, None]).transpose(-1, -2))  # (*B, n, S, S + P)
    leaf_right = total(by_right[..., :S, :] + seen[..., None, None, :])  # (*B, n, S, S)
    inner = rule[..., None, :, :S, :S].flatten(-2)  # (*B, 1, S, S S)
    charts, tops = dict[int, Tensor](), list[Tensor]()
    for w in range(2, n + 1):
        here = n - w + 1  # starts
        if w == 2:
            charts[w] = total(leaf_left[..., :here, :, S:] + seen[..., 1:, None, :])
        else:
            parts = [leaf_left[..., :here, :, :S] + charts[w - 1][..., 1:, None, :]]
            parts.append(leaf_right[..., w - 1 :, :, :] + charts[w - 1][..., :here, None, :])
            if w > 3:
                left = torch.stack([charts[k][..., :here, :] for k in range(2, w - 1)], -1)  # (*B, here, S, k)
                right = torch.stack([charts[w - k][..., k:, :] for k in range(2, w - 1)], -1)
                pairs = total(left.unsqueeze(-2) + right.unsqueeze(-3))  # (*B, here, S, S)
                parts.append(inner + pairs.flatten(-2).unsqueeze(-2))
            charts[w] = total(torch.cat(parts, -1))
        if over is not None:
            charts[w] = charts[w] + over.diagonal(w - 1, -3, -2).mT
        tops.append(charts[w][..., 0, :])
    if not tops:
        return seen.new_full(batch, -torch.inf).to(dtype)
    wide = torch.stack(tops, -2)  # (*B, n - 1, S)
    lengths = torch.full(batch, n, device=seen.device) if length is None else length.expand(batch)
    at = (lengths - 2).clamp(min=0)[..., None, None].expand(*batch, 1, S)
    log_z = total(root + wide.gather(-2, at).squeeze(-2))
    return torch.where((lengths > 1) & (log_z > -torch.inf), log_z, -torch.inf).to(dtype)


def decide_grammar(root: Tensor, rules: Tensor, seen: Tensor, length: Tensor | None, rule: str) -> Tensor:
    """A parse by the rule "sample" or "mode" as data tell it (*B, n, 4), int64 (kernels/trees/brackets.py)."""
    seen = along_lengths(seen, length, 2)
    batch, n = rows_of(root, rules, seen), seen.shape[-2]
    with torch.enable_grad():
        seen = seen.detach().expand(*batch, *seen.shape[-2:]).requires_grad_()
        over = seen.new_zeros(*batch, n, n, root.shape[-1]).requires_grad_()
        log_z = grammar_by(algebra_of(rule), root.detach(), rules.detach(), seen, length, over)
        found = torch.autograd.grad(log_z.sum(), (over, seen), allow_unused=True, materialize_grads=True)
    return told_of(found[0], found[1], length)


@torch.library.custom_op(unused("grammar_sums"), mutates_args=())
def grammar_sums(
    root: Tensor, rule: Tensor, seen: Tensor, length: Tensor, over: Tensor | None, grad: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """log Z (B,) of root (1 or B, S), rule (1 or B, S, S + P, S + P), seen (B, n, P), over (B, n, n, S) and, if grad, how often
    each row's parses are expected to have each root (B, S), each rule (B, S, S + P, S + P), each preterminal (B, n, P), and,
    where there is `over`, each symbol over each stretch (B, n, n, S)."""
    B, n, _ = seen.shape
    if n < 2:
        none = [each.new_zeros(B, *each.shape[1:]) if grad else seen.new_empty(0) for each in (root, rule, seen)]
        by_stretch = torch.zeros_like(over) if grad and over is not None else seen.new_empty(0)
        return seen.new_full((B,), -torch.inf), none[0], none[1], none[2], by_stretch
    counts = torch.arange(n, device=seen.device) < length[:, None]
    most = rule.double().flatten(1).amax(1)[:, None]  # (1 or B, 1)
    rules = (rule.double() - most[..., None, None]).exp_()
    seen64 = seen.double().masked_fill(~counts[..., None], 0.0)
    shift = seen64.amax(-1)
    leaf = (seen64 - shift.nan_to_num(neginf=0.0)[..., None]).exp_()
    besides = [] if over is None else [over.double().diagonal(w - 1, 1, 2).mT for w in range(1, n + 1)]
    charts = inside_pass(rules, leaf, shift, most, besides)
    by_start, scale = charts[0], charts[2]
    row, top = torch.arange(B, device=seen.device), length.clamp(min=2)
    whole = root.double() + by_start[row, 0, top].log() + scale[row, 0, top][:, None]
    log_z = whole.logsumexp(-1).masked_fill(length < 2, -torch.inf)
    if not grad:
        return (log_z.to(seen.dtype, copy=True), *nothing(seen))
    possible = (log_z > -torch.inf)[:, None]
    roots = torch.where(possible, (whole - log_z.masked_fill(~possible[:, 0], 0.0)[:, None]).exp(), 0.0)
    by_rule, by_leaf, by_width = outside_pass(rules, leaf, shift, charts, roots, top, besides)
    by_stretch = seen.new_empty(0) if over is None else torch.zeros_like(over)
    for w, each in enumerate(by_width, 2):
        by_stretch.diagonal(w - 1, 1, 2).copy_(each.mT)
    return log_z.to(seen.dtype), roots.to(seen.dtype), by_rule.to(seen.dtype), by_leaf.to(seen.dtype), by_stretch


def nothing(seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """In the place of counts that nobody asked for."""
    return seen.new_empty(0), seen.new_empty(0), seen.new_empty(0), seen.new_empty(0)


@grammar_sums.register_fake
def grammar_shapes(
    root: Tensor, rule: Tensor, seen: Tensor, length: Tensor, over: Tensor | None, grad: bool
) -> tuple[Tensor, ...]:
    B = len(seen)
    shapes = [(B, *each.shape[1:]) if grad and each is not None else (0,) for each in (root, rule, seen, over)]
    return (seen.new_empty(B), *(seen.new_empty(shape) for shape in shapes))


def grammar_save(ctx, inputs, output) -> None:
    ctx.shared = [len(each) == 1 for each in inputs[:3]]
    ctx.over = inputs[4] is not None
    ctx.save_for_backward(*output[1:])


def grammar_gradient(ctx, g: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, Tensor | None, None]:
    """The expected counts, each row's weighted by its g (B,)."""
    *counts, by_stretch = ctx.saved_tensors
    each = zip(counts, ctx.shared, strict=True)
    found = [(g @ n.flatten(1)).view(1, *n.shape[1:]) if shared else g.view(-1, *[1] * (n.dim() - 1)) * n for n, shared in each]
    return (*found, None, g.view(-1, 1, 1, 1) * by_stretch if ctx.over else None, None)


grammar_sums.register_autograd(first_derivative(grammar_gradient), setup_context=grammar_save)


def ways(scales: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The largest scale among the ways to divide stretches (B, I), 0 where all are impossible, and how much smaller the others
    are: of inner divisions (B, I, K), of those after the first element and before the last one."""
    largest = torch.maximum(first, last)
    if scales.shape[-1]:
        largest = torch.maximum(largest, scales.amax(-1))
    by = largest.masked_fill(largest == -torch.inf, 0.0)
    return by, (scales - by[..., None]).exp_(), (first - by).exp_(), (last - by).exp_()


def divided(w: int, n: int, chart: Tensor, by_end: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of all stretches of width w the left and the right parts of two elements at least, what is right of the first element,
    and what is left of the last one: views of charts (B, n, n + 1, ...) by first and by last element."""
    here = n - w + 1
    left, right = chart[:, :here, 2 : w - 1], by_end[:, w - 1 :, n - w + 2 : n - 1]
    return left, right, by_end[:, w - 1 :, n - w + 1], chart[:, :here, w - 1]


def leaf_rules(rules: Tensor, leaf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rules summed over the preterminals of each element: as a left child beside symbols (B, n, S, S) and beside
    preterminals (B, n, S, P), as a right child beside symbols (B, n, S, S)."""
    S = rules.shape[1]
    left, right = (times(leaf, table).unflatten(-1, (S, -1)) for table in leaf_tables(rules))
    return left[..., :S], left[..., S:], right


def leaf_tables(rules: Tensor) -> tuple[Tensor, Tensor]:
    """Rules of a preterminal on the left (1 or B, P, S (S + P)), and of one beside a symbol on the right (1 or B, P, S S)."""
    S = rules.shape[1]
    return rules[:, :, S:].transpose(1, 2).flatten(2), rules[:, :, :S, S:].permute(0, 3, 1, 2).flatten(2)


def times(x: Tensor, tables: Tensor) -> Tensor:
    """x (B, m, k) times tables (1 or B, k, l): one product for all rows where they share the table."""
    return x @ (tables[0] if len(tables) == 1 else tables)


def raised(besides: list[Tensor], w: int) -> tuple[Tensor | float, Tensor | float]:
    """The largest of the scores besides of each stretch of width w, and by how much each symbol falls behind it."""
    if not besides:
        return 0.0, 1.0
    most = besides[w - 1].amax(-1).nan_to_num(neginf=0.0)
    return most, (besides[w - 1] - most[..., None]).exp_()


def inside_pass(rules: Tensor, leaf: Tensor, shift: Tensor, most: Tensor, besides: list[Tensor]) -> tuple[Tensor, ...]:
    """The mass of each symbol over each stretch, by first element and width and by last element and width backwards (B, n,
    n + 1, S), each stretch's largest being 1; its scale in logs, likewise twice (B, n, n + 1); and what the largest was."""
    B, n, _ = leaf.shape
    S = rules.shape[1]
    chart, by_end = leaf.new_zeros(2, B, n, n + 1, S)
    scale, scale_by_end = leaf.new_full((2, B, n, n + 1), -torch.inf)
    largest = leaf.new_zeros(B, n, n + 1)
    inner = rules[:, :, :S, :S].flatten(2).mT
    as_left, as_left_of_leaf, as_right = leaf_rules(rules, leaf)
    for w in range(2, n + 1):
        here = n - w + 1
        if w == 2:
            by = (shift[:, :-1] + shift[:, 1:]).nan_to_num(neginf=0.0)
            mass = (as_left_of_leaf[:, :-1] * leaf[:, 1:, None]).sum(-1)
        else:
            left, right, after, before = divided(w, n, chart, by_end)
            *scales, s_after, s_before = divided(w, n, scale, scale_by_end)
            by, f, f_after, f_before = ways(scales[0] + scales[1], shift[:, :here] + s_after, s_before + shift[:, w - 1 :])
            mass = (as_left[:, :here] * after[:, :, None]).sum(-1).mul_(f_after[..., None])
            mass += (as_right[:, w - 1 :] * before[:, :, None]).sum(-1).mul_(f_before[..., None])
            if w > 3:
                mass += times(((left * f[..., None]).mT @ right).flatten(-2), inner)
        more, fall = raised(besides, w)
        mass = mass * fall if besides else mass
        top = mass.amax(-1)
        largest[:, :here, w] = top
        chart[:, :here, w] = by_end[:, w - 1 :, n - w] = mass / top.masked_fill(top == 0, 1.0)[..., None]
        scale[:, :here, w] = scale_by_end[:, w - 1 :, n - w] = by + top.log() + most + more
    return chart, by_end, scale, scale_by_end, largest


def outside_pass(
    rules: Tensor,
    leaf: Tensor,
    shift: Tensor,
    charts: tuple[Tensor, ...],
    roots: Tensor,
    top: Tensor,
    besides: list[Tensor],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Expected counts of rules (B, S, S + P, S + P) and of preterminals (B, n, P), from the widest stretch to the narrowest: of
    each symbol over a stretch its probability, which its ways to divide share; these too, of each width from 2 on, where there
    are scores besides."""
    chart, by_end, scale, scale_by_end, largest = charts
    B, n, P = leaf.shape
    S = rules.shape[1]
    found, found_by_end = torch.zeros_like(chart), torch.zeros_like(by_end)
    found[torch.arange(B, device=leaf.device), 0, top] = roots
    inner = rules[:, :, :S, :S].flatten(2)
    as_left, as_left_of_leaf, as_right = leaf_rules(rules, leaf)
    of_left, of_right, of_pairs = torch.zeros_like(as_left), torch.zeros_like(as_right), torch.zeros_like(as_left_of_leaf)
    counts, leaves, by_width = leaf.new_zeros(B, S, S * S), torch.zeros_like(leaf), list[Tensor]()
    for w in range(n, 1, -1):
        here = n - w + 1
        mass = chart[:, :here, w] * largest[:, :here, w, None]
        here_found = found[:, :here, w] + found_by_end[:, w - 1 :, n - w]
        if besides:
            by_width.insert(0, here_found)
        share = here_found / mass.masked_fill(mass == 0, torch.inf)
        share = share * raised(besides, w)[1] if besides else share
        if w == 2:
            of_pairs[:, :-1] = share[..., None] * leaf[:, 1:, None]
            leaves[:, 1:] += leaf[:, 1:] * (share[..., None] * as_left_of_leaf[:, :-1]).sum(-2)
            continue
        left, right, after, before = divided(w, n, chart, by_end)
        to_left, to_right, to_after, to_before = divided(w, n, found, found_by_end)
        *scales, s_after, s_before = divided(w, n, scale, scale_by_end)
        _, f, f_after, f_before = ways(scales[0] + scales[1], shift[:, :here] + s_after, s_before + shift[:, w - 1 :])
        own = (share * f_after[..., None])[..., None]
        to_after += after * (own * as_left[:, :here]).sum(-2)
        of_left[:, :here] += own * after[:, :, None]
        own = (share * f_before[..., None])[..., None]
        to_before += before * (own * as_right[:, w - 1 :]).sum(-2)
        of_right[:, w - 1 :] += own * before[:, :, None]
        if w > 3:
            pairs, scaled = times(share, inner).unflatten(-1, (S, S)), left * f[..., None]
            to_left += scaled * (right @ pairs.mT)
            to_right += right * (scaled @ pairs)
            counts += share.mT @ (scaled.mT @ right).flatten(-2)
    beside_left = torch.cat([of_left, of_pairs], -1).flatten(-2)  # (B, n, S (S + P))
    beside_right = of_right.flatten(-2)
    for beside, table in zip((beside_left, beside_right), leaf_tables(rules), strict=True):
        leaves += leaf * times(beside, table.mT)
    by_rule = leaf.new_zeros(B, *rules.shape[1:])
    by_rule[:, :, :S, :S] = counts.unflatten(-1, (S, S))
    by_rule[:, :, S:] = (leaf.mT @ beside_left).unflatten(-1, (S, S + P)).transpose(1, 2)
    by_rule[:, :, :S, S:] = (leaf.mT @ beside_right).unflatten(-1, (S, S)).permute(0, 2, 3, 1)
    return by_rule.mul_(rules), leaves, by_width
