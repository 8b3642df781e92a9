"""Decision rules for what is missing: what to report of its predictive distribution, which `module.predictive` tells of."""

import torch
from torch import Tensor

from vispec.kernels.sums.algebra import sampled
from vispec.kernels.sums.enumeration import seeded
from vispec.kernels.sums.logsum import log_sum_exp
from vispec.kernels.told.queries import answer

RULES = {each.partition("(")[0]: each for each in ("mean", "mode", "median", "quantiles(.05, .95)", "probs", "sample(5)")}


MOST = 10_000  # counts whose probabilities are told
AT_ONCE = 1000  # rows that are drawn at once


def filled(module, batch: dict[str, Tensor], rule: str, kinds: dict[str, str], samples: int, many=(), tables=()) -> dict:
    """Each variable of `kinds` by the rule, (B, *plates, *event), with what is seen in its place; the last dimension has the
    probabilities of a label's values, of a count's those from 0 on, the levels of quantiles, the draws that are asked for.

    kinds: "finite", "count", "number"; "weighed" of what is drawn from a guide, "drawn" where only draws tell of the law,
    "mean" where that alone is known, "flat" where nothing is. many: the number of draws of latents, where there are
    any. tables: entries of the batch that all rows share. Raises ValueError for what a law does not tell."""
    word, _, inside = rule.partition("(")
    numbers = [float(number) for number in inside.rstrip(")").split(",") if number.strip()]
    if word not in RULES or (bool(numbers) and word not in ("quantiles", "sample")) or (word == "quantiles" and not numbers):
        raise ValueError(f"this model has no rule {rule!r}; rules are {', '.join(RULES.values())}")
    if flat := [name for name, kind in kinds.items() if kind == "flat"]:
        raise ValueError(f"{', '.join(flat)}: Flat() is no law to predict from")
    if word != "mean" and (odd := [name for name, kind in kinds.items() if kind == "mean"]):
        raise ValueError(
            f"{', '.join(odd)}: over the posterior of what the law reads, its mean alone is known; ask for rule mean"
        )
    told = Predictive(module, batch, kinds, samples, many)
    if word == "sample" and numbers:
        each = several(told, int(numbers[0]), tables)
    else:
        each = getattr(told, word)(*([numbers] if numbers else []))
    known = ("finite",) if word != "probs" else ("finite", "count")
    each = {name: each[name] for name in kinds if name in each}
    return {name: value if kinds[name] in known else with_seen(batch, name, value) for name, value in each.items()}


def several(told: "Predictive", count: int, tables: tuple[str, ...]) -> dict[str, Tensor]:
    """So many draws of each variable, last in order: of copies of the rows, where rows are drawn apart from each other."""
    if told.many:
        draws = [told.sample() for _ in range(count)]
        return {name: torch.stack([draw[name] for draw in draws], -1) for name in told.kinds}
    rows = next(len(value) for name, value in told.batch.items() if name not in tables)
    most, draws = max(1, AT_ONCE // max(1, rows)), list[dict[str, Tensor]]()
    for copies in [most] * (count // most) + [count % most] * (count % most > 0):
        own = {name: value.repeat_interleave(copies, 0) for name, value in told.batch.items() if name not in tables}
        batch = told.batch | own
        found = Predictive(told.module, batch, told.kinds, told.samples, ()).sample()
        draws.append({name: value.unflatten(0, (rows, copies)).movedim(1, -1) for name, value in found.items()})
    return {name: torch.cat([draw[name] for draw in draws], -1) for name in told.kinds}


def labelled(posterior, batch: dict[str, Tensor], rule: str, names: tuple[str, ...], whole: tuple[str, ...] = ()) -> dict:
    """Labels (B, *plates) by the rule, from their posterior: the probabilities of their values, last, for "mean" and "probs";
    for "mode" the likeliest of each, of those that are `whole` the best all together. Raises ValueError for another rule."""
    if rule in ("mean", "probs"):
        found = posterior(batch, "marginals")
    elif rule == "mode":
        told = posterior(batch, "mode") if whole else {}
        each = posterior(batch, "marginals") if {*names} - {*whole} else {}
        found = {name: told[name] if name in whole else each[name].argmax(-1) for name in names}
    elif rule in ("joint", "sample"):
        found = posterior(batch, {"joint": "mode"}.get(rule, rule))
    elif rule.startswith("sample(") and rule[7:-1].isdigit():
        draws = [posterior(batch, "sample") for _ in range(int(rule[7:-1]))]
        found = {name: torch.stack([draw[name] for draw in draws], -1) for name in names}
    else:
        raise ValueError(f"this model has no rule {rule!r}; rules are mean, mode, joint, probs, sample, sample(5)")
    return {name: found[name] for name in names}


def with_seen(batch: dict[str, Tensor], name: str, value: Tensor, seen: Tensor | None = None) -> Tensor:
    """Values with those that are seen, or what is known of these, in their place."""
    seen, observed = batch[name] if seen is None else seen, batch[f"{name}_observed"]
    seen = seen.view(*seen.shape, *[1] * (value.dim() - seen.dim()))
    return torch.where(observed.view(*observed.shape, *[1] * (value.dim() - observed.dim())), seen.to(value.dtype), value)


def between(
    f, low: dict[str, Tensor], high: dict[str, Tensor], sought: dict[str, Tensor], whole: set[str]
) -> dict[str, Tensor]:
    """Where f, which rises, is first at least 0, between values at which it is less than 0 and those at which it is not.
    whole: by bisection among whole numbers; else by Chandrupatla's method (1997), inverse quadratic steps where these are
    safe."""
    told = f(low), f(high)
    ends = {name: ((high[name], told[1][name]), (low[name], told[0][name])) for name in low}  # the newest, and that across
    share = {name: torch.full_like(value, 0.5) for name, value in low.items()}
    while True:
        wide = {name: (new[0] - across[0]).abs() for name, (new, across) in ends.items()}
        least = {n: torch.ones_like(w) if n in whole else 4 * ulp(ends[n][0][0]) for n, w in wide.items()}
        open_ = {name: sought[name] & wide[name].isfinite() & (wide[name] > least[name]) for name in low}
        if not any(bool(each.any()) for each in open_.values()):
            return {name: torch.where(new[1] >= 0, new[0], across[0]) for name, (new, across) in ends.items()}
        at = {name: torch.lerp(ends[name][0][0], ends[name][1][0], share[name]) for name in low}
        at = {name: torch.where(open_[name], each.floor() if name in whole else each, low[name]) for name, each in at.items()}
        for name, here in f(at).items():
            ends[name], share[name] = narrowed(*ends[name], (at[name], here), open_[name], least[name] / wide[name])
            if name in whole:
                share[name].fill_(0.5)


def narrowed(new, across, now, open_: Tensor, least: Tensor):
    """The ends with a value between them in the place of one, where they are open; and which share of the way to go next."""
    (x1, f1), (x2, f2), (x, fx) = new, across, now
    same = (fx >= 0) == (f1 >= 0)
    x3, f3 = torch.where(same, x1, x2), torch.where(same, f1, f2)
    x2, f2 = torch.where(open_ & ~same, x1, x2), torch.where(open_ & ~same, f1, f2)
    x1, f1 = torch.where(open_, x, x1), torch.where(open_, fx, f1)
    xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
    safe = (1 - (1 - xi).sqrt() < phi) & (phi < xi.sqrt())
    step = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
    share = torch.where(safe, step, 0.5).clamp(least.clamp(max=0.5), (1 - least).clamp(min=0.5))
    return ((x1, f1), (x2, f2)), share


def ulp(x: Tensor) -> Tensor:
    """The distance to the next number, about."""
    return torch.finfo(x.dtype).eps * x.abs() + torch.finfo(x.dtype).tiny


def chosen(chances: Tensor) -> Tensor:
    """A draw of each label by its chances, last in order: that of which the first of exponential times is over."""
    return (chances / torch.empty_like(chances).exponential_()).argmax(-1)


class Drawn:
    """A law that only draws; sure: always the same, which is its mean."""

    def __init__(self, draw, sure: bool = False):
        self.sample, self.sure = draw, sure

    @property
    def mean(self):
        if self.sure:
            return self.sample()
        raise NotImplementedError


class Predictive:
    """The predictive distribution of each cell, by posterior means of what laws tell."""

    def __init__(self, module, batch: dict[str, Tensor], kinds: dict[str, str], samples: int, many: tuple):
        self.module, self.batch, self.kinds, self.samples, self.many = module, batch, kinds, samples, many
        self.seed = int(torch.randint(2**62, ()))  # the same draws of latents, whatever is asked
        self.sought: dict[str, Tensor] = {}

    def mean_of(self, of, values: dict[str, Tensor] | None = None, total=None) -> dict[str, Tensor]:
        """The posterior mean of of(law, log-density, distribution function) at the values; of labels their probabilities."""
        zeros = self.module.tilts(self.batch)
        values = dict(zeros) if values is None else values
        tilts = {name: zero.clone() for name, zero in zeros.items()}  # those of one shape may be one tensor

        def asked(batch, total, tilt):
            return self.module.predictive(batch, total, of, tilt, values, *self.many)

        return answer(asked, self.batch, total or log_sum_exp, tilts)[1]

    def mean(self) -> dict[str, Tensor]:
        odd = list[Tensor]()

        def finite(law, *_):
            odd.append((~law.mean.isfinite()).any())
            return law.mean.nan_to_num(0.0, 0.0, 0.0)

        try:
            found = self.mean_of(finite)
        except NotImplementedError:  # of a law that only draws
            draws = [self.mean_of(lambda law, *_: law.sample()) for _ in range(self.samples)]
            return {name: torch.stack([each[name] for each in draws]).mean(0) for name in self.kinds}
        # what is infinite or no number for one law, would be so for all: a tilt of nothing is a factor 0 of it
        for value in (torch.nan, torch.inf, -torch.inf) if any(odd) else ():
            some = self.mean_of(
                lambda law, *_, it=value: law.mean.isclose(law.mean.new_tensor(it), equal_nan=True).to(law.mean)
            )
            found |= {name: torch.where(some[name] > 0, value, found[name]) for name in self.numbers()}
        return found

    def sample(self) -> dict[str, Tensor]:
        found = self.mean_of(lambda law, *_: law.sample(), total=sampled)
        return {name: chosen(value) if self.kinds[name] == "finite" else value for name, value in found.items()}

    # ---- by the distribution function

    def below(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """P(X ≤ value)."""
        return seeded(lambda: self.mean_of(lambda _, __, cdf: cdf, values), self.seed)

    def numbers(self) -> list[str]:
        return [name for name, kind in self.kinds.items() if kind != "finite"]

    def missing(self) -> dict[str, Tensor]:
        """Which cells are sought: those that are not seen, and not past the end of a row."""
        if not self.sought:
            told = self.mean_of(lambda _, __, cdf: torch.ones_like(cdf))
            self.sought = {name: told[name] > 0.5 for name in self.numbers()}
        return self.sought

    def quantiles(self, levels: list[float]) -> dict[str, Tensor]:
        if "drawn" in self.kinds.values():
            draws = [self.sample() for _ in range(self.samples)]
            at = {name: torch.stack([draw[name] for draw in draws], -1) for name in self.numbers()}
            return {name: value.quantile(value.new_tensor(levels), -1).movedim(0, -1) for name, value in at.items()}
        found = [self.quantile(level) for level in levels]
        return {name: torch.stack([each[name] for each in found], -1) for name in self.numbers()}

    def median(self) -> dict[str, Tensor]:
        return {name: value[..., 0] for name, value in self.quantiles([0.5]).items()}

    def quantile(self, level: float) -> dict[str, Tensor]:
        """The least value with P(X ≤ value) ≥ level."""
        zeros, names = self.module.tilts(self.batch), self.numbers()

        def short(at: dict[str, Tensor]) -> dict[str, Tensor]:
            below = self.below(zeros | at)
            return {name: below[name] - level for name in names}

        missing = self.missing()
        low, high = ({name: torch.full_like(zeros[name], end) for name in names} for end in (-1.0, 1.0))
        for at, below in ((low, False), (high, True)):
            for _ in range(1024):  # doublings, past the largest number
                off = {n: missing[n] & ((gap < 0) == below) & at[n].isfinite() for n, gap in short(at).items()}
                if not any(bool(each.any()) for each in off.values()):
                    break
                at.update({name: torch.where(off[name], 2 * at[name], at[name]) for name in names})
        whole = {name for name in names if self.kinds[name] == "count"}
        return between(short, low, high, missing, whole)

    # ---- by masses and densities

    def probs(self) -> dict[str, Tensor]:
        """Of labels, and of counts those from 0 on until all but 1e-9 is there."""
        if not any(kind in ("finite", "count") for kind in self.kinds.values()):
            raise ValueError("probs are of labels and counts; of other numbers there are quantiles")
        most = {name: value for name, value in self.quantile(1 - 1e-9).items() if self.kinds[name] == "count"}
        last = max((float(value.max()) for value in most.values()), default=0.0)
        if last > MOST:
            raise ValueError(
                f"probs would be of counts up to {last:g}, and are told up to {MOST}; quantiles tell of larger ones"
            )
        zeros = self.module.tilts(self.batch)
        counts = [{name: torch.full_like(zeros[name], float(k)) for name in most} for k in range(int(last) + 1)]
        sums = [self.below(zeros | each) for each in counts]
        sums = [
            each | {name: with_seen(self.batch, name, each[name], self.batch[name] <= k) for name in most}
            for k, each in enumerate(sums)
        ]
        found = {name: torch.stack([each[name] for each in sums], -1) for name in most}
        steps = {name: value.diff(dim=-1, prepend=torch.zeros_like(value[..., :1])) for name, value in found.items()}
        return {name: steps.get(name, value) for name, value in sums[0].items()}

    def mode(self) -> dict[str, Tensor]:
        if {"drawn", "weighed"} & {*self.kinds.values()}:
            raise ValueError("a law here has no density of one number to find the mode of; other rules are mean and sample")
        labels = {
            name: p.argmax(-1) for name, p in self.below(self.module.tilts(self.batch)).items() if self.kinds[name] == "finite"
        }
        whole, real = ([name for name, kind in self.kinds.items() if kind == each] for each in ("count", "number"))
        return labels | (self.likeliest(whole) if whole else {}) | (self.densest(real) if real else {})

    def likeliest(self, names: list[str]) -> dict[str, Tensor]:
        """Of counts: from a low quantile on, and below it, until what is left is less than the best."""
        zeros, first, missing = self.module.tilts(self.batch), self.quantile(0.01), self.missing()
        found = {name: (first[name], torch.zeros_like(first[name])) for name in names}
        for step, at in ((1, first), (-1, {name: value - 1 for name, value in first.items()})):
            while True:
                here, before = self.below(zeros | at), self.below(zeros | {name: value - 1 for name, value in at.items()})
                left = False
                for name in names:
                    best, mass = found[name]
                    own = here[name] - before[name]
                    found[name] = torch.where(own > mass, at[name], best), torch.maximum(own, mass)
                    rest = 1 - here[name] if step == 1 else before[name]
                    left |= bool((missing[name] & (rest > found[name][1])).any())
                at = {name: value + step for name, value in at.items()}
                if not left:
                    break
        return {name: best for name, (best, _) in found.items()}

    def densest(self, names: list[str]) -> dict[str, Tensor]:
        """Of numbers: the densest of 200 between two far quantiles, then by golden sections beside it."""
        zeros = self.module.tilts(self.batch)

        def density(at: dict[str, Tensor]) -> dict[str, Tensor]:
            return seeded(lambda: self.mean_of(lambda _, log_density, __: log_density.exp(), zeros | at), self.seed)

        low, high = self.quantile(1e-4), self.quantile(1 - 1e-4)
        grid = [{name: torch.lerp(low[name], high[name], k / 200) for name in names} for k in range(201)]
        told = [density(at) for at in grid]
        best = {name: torch.stack([each[name] for each in told]).argmax(0).to(low[name].dtype) for name in names}
        ends = {
            name: [torch.lerp(low[name], high[name], (best[name] + k).clamp(0, 200) / 200) for k in (-1, 1)] for name in names
        }
        ratio = (5**0.5 - 1) / 2
        for _ in range(40):
            inner = [{n: torch.lerp(a, b, share) for n, (a, b) in ends.items()} for share in (1 - ratio, ratio)]
            one, other = map(density, inner)
            ends = {
                n: [torch.where(one[n] > other[n], a, inner[0][n]), torch.where(one[n] > other[n], inner[1][n], b)]
                for n, (a, b) in ends.items()
            }
        return {name: (a + b) / 2 for name, (a, b) in ends.items()}
