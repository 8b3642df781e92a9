"""What can be asked of a run: queries of posteriors, and rules by which to predict. Needs no torch."""

import re

QUERIES = ("marginals", "mode", "kbest(5)", "sample", "entropy", "pairs", "kl(RUN)", "moments(10000)")
RULES = ("mean", "mode", "joint", "median", "quantiles(.05, .95)", "probs", "sample", "sample(5)", "greedy")


def is_query(text: str) -> bool:
    """One of the queries; `kl` with a run folder, `kbest` and `moments` with any number from 1, `moments` also without one."""
    known = text in (*QUERIES, "moments")
    return known or re.fullmatch(r"kbest\([1-9]\d{0,3}\)|kl\(.+\)|moments\([1-9]\d{0,7}\)", text) is not None


def is_rule(text: str) -> bool:
    """A rule by its name, some with numbers."""
    number = r"\s*\d*\.?\d+\s*"
    known = rf"mean|mode|joint|median|probs|greedy|sample(\([1-9]\d*\))?|quantiles\({number}(,{number})*\)"
    return re.fullmatch(known, text) is not None


def unknown_query(text: str) -> str:
    return f"there is no query {text!r}; there are {', '.join(QUERIES)}"


def unknown_rule(text: str) -> str:
    return f"{text!r} is no decision rule; there are {', '.join(RULES)}"
