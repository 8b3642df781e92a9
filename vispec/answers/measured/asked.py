"""Metrics as they are asked for: `bleu,f1(span=bio)`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from vispec.model.problems import did_you_mean, listed
from vispec.train.errors import OptionError

METRICS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "accuracy": {},
    "f1": {"span": ("bio", "bioes")},
    "uas": {},
    "las": {},
    "brackets": {"labels": ("yes", "no")},
    "bleu": {"tokenize": ("none", "13a", "intl", "char", "zh")},
    "chrf": {},
}
"""By metric the options that it takes, each with its values, of which the first goes without saying."""

CALL = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*")


@dataclass(frozen=True)
class Metric:
    """options: all that the metric takes."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        return self.name


def read_metrics(texts: tuple[str, ...]) -> list[Metric]:
    """Those of all texts, each once; OptionError where one is none."""
    calls = [call for text in texts for call in re.split(r",(?![^()]*\))", text)]
    return list({metric.name: metric for metric in map(read_metric, calls)}.values())


def read_metric(text: str) -> Metric:
    found = CALL.fullmatch(text)
    name = found[1] if found else text.strip()
    if found is None or name not in METRICS:
        more = "; alignments are measured by `vispec posterior --aer FILE`" if name == "aer" else ""
        raise OptionError(f"{name!r} is no metric; {did_you_mean(name, METRICS, f'there are {listed(METRICS)}')}{more}")
    options = {key: values[0] for key, values in METRICS[name].items()}
    for part in filter(str.strip, (found[2] or "").split(",")):
        key, _, value = (each.strip() for each in part.partition("="))
        if key not in options or value not in METRICS[name][key]:
            known = listed([f"{key}={value}" for key, values in METRICS[name].items() for value in values]) or "none"
            raise OptionError(f"{name}({part.strip()}) cannot be; its options are {known}")
        options[key] = value
    return Metric(name, options)
