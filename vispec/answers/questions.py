"""What can be asked of a run: queries of posteriors, and rules by which to predict. Needs no torch."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from vispec.model.model import Model

QUERIES = (
    "marginals",
    "mode",
    "kbest(5)",
    "sample",
    "entropy",
    "pairs",
    "tree",
    "tree(sample)",
    "stretches",
    "boundaries",
    "kl(RUN)",
    "moments(10000)",
)
RULES = ("mean", "mode", "joint", "median", "quantiles(.05, .95)", "probs", "sample", "sample(5)")
DECISIONS = (
    "greedy",
    "beam(width=5, length_penalty=0, n=1)",
    "sample(n=5, temperature=1, top_k=0, top_p=1)",
    "mbr(samples=20, utility=bleu)",
)
"""Rules for sequences that end by a symbol of their own."""

OPTIONS: Mapping[str, Mapping[str, Callable[[str], Any]]] = {
    "greedy": {},
    "beam": {"width": int, "length_penalty": float, "n": int},
    "sample": {"n": int, "temperature": float, "top_k": int, "top_p": float},
    "mbr": {"samples": int, "utility": {"bleu": "bleu", "chrf": "chrf"}.__getitem__},
}
POSITIVE = ("width", "n", "temperature", "top_p", "samples")


def is_query(text: str) -> bool:
    """One of the queries; `kl` with a run folder, `kbest` and `moments` with any number from 1, `moments` also without one."""
    known = text in (*QUERIES, "moments")
    return known or re.fullmatch(r"kbest\([1-9]\d{0,3}\)|kl\(.+\)|moments\([1-9]\d{0,7}\)", text) is not None


def is_rule(text: str) -> bool:
    """A rule by its name, some with numbers."""
    number = r"\s*\d*\.?\d+\s*"
    known = rf"mean|mode|joint|median|probs|sample(\([1-9]\d*\))?|quantiles\({number}(,{number})*\)"
    return re.fullmatch(known, text) is not None or is_decision(text)


def is_decision(text: str) -> bool:
    """A rule for sequences."""
    try:
        decision(text)
    except ValueError:
        return False
    return True


def decision(text: str) -> tuple[str, dict[str, Any]]:
    """A rule for sequences and its options: `beam(5)`, `beam(width=5, length_penalty=0.6)`. ValueError for anything else."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if match is None or match.group(1) not in OPTIONS:
        raise ValueError(text)
    name, found = match.group(1), dict[str, Any]()
    known = OPTIONS[name]
    for place, part in enumerate(filter(None, map(str.strip, (match.group(2) or "").split(",")))):
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            key, value = (next(iter(known), "") if place == 0 else ""), key
        if key not in known or key in found:
            raise ValueError(text)
        try:
            number = found[key] = known[key](value)
        except KeyError:
            raise ValueError(text) from None
        if key != "utility" and (not 0 <= number < float("inf") or (key in POSITIVE and not number)):
            raise ValueError(text)
    return name, found


def unknown_query(text: str) -> str:
    return f"there is no query {text!r}; there are {', '.join(QUERIES)}"


def unknown_rule(text: str) -> str:
    return f"{text!r} is no decision rule; there are {', '.join((*RULES, *DECISIONS))}"


ASK_STRETCHES = "`vispec posterior RUN DATA --query stretches` tells where they are"


def has_whole_stretches(model: Model) -> bool:
    """Whether a law is on whole stretches of what is given: where these are is asked of the posterior, and nothing is drawn."""
    return any(variable.type.whole_of is not None for variable in model.variables)
