"""Writes the simulated tables of specs/data that pages of docs/models use: `python docs/make_data.py`, always the same."""

from json import dumps
from math import exp
from pathlib import Path
from random import Random

DATA = Path(__file__).parents[1] / "specs" / "data"
MOODS = ("alert", "calm", "cheerful", "proud")
# How probable the answers 1 to 5 are, for each class and item.
LOW, MIDDLE, HIGH = (0.45, 0.3, 0.15, 0.07, 0.03), (0.1, 0.2, 0.4, 0.2, 0.1), (0.03, 0.07, 0.15, 0.3, 0.45)
CLASSES = ((LOW, HIGH, LOW, MIDDLE), (HIGH, LOW, HIGH, HIGH))
STORIES = (
    ("the", ("cook", "baker", "waiter"), ("tasted", "cut", "served"), "the", ("bread", "soup", "cake")),
    ("a", ("sailor", "captain", "diver"), ("left", "saw", "missed"), "a", ("harbour", "ship", "wave")),
)


def answers(rng: Random) -> str:
    """120 persons answer four items, or leave one out."""
    lines = ["person,item,answer"]
    for person in range(120):
        profile = CLASSES[rng.random() < 0.4]
        for item, law in zip(MOODS, profile, strict=True):
            answer = rng.choices((1, 2, 3, 4, 5), law)[0]
            if rng.random() > 0.1:
                lines.append(f"p{person + 1:03d},{item},{answer}")
    return "\n".join(lines)


def visits(rng: Random) -> str:
    """80 sites, visited two to five times: was the owl heard?"""
    lines = ["site,forest,wind,heard"]
    for site in range(80):
        forest = round(rng.random(), 2)
        there = rng.random() < 1 / (1 + exp(2 - 4 * forest))
        for _ in range(rng.randint(2, 5)):
            wind = round(rng.expovariate(0.4), 1)
            heard = there and rng.random() < 1 / (1 + exp(0.5 * wind - 1))
            lines.append(f"s{site + 1:02d},{forest},{wind},{int(heard)}")
    return "\n".join(lines)


def visitors(rng: Random) -> str:
    """70 days of a park, whose visitors depend on the weather and on whether times are quiet or busy; ten days to come."""
    lines, busy = ["day,warmth,visitors"], False
    for day in range(80):
        busy = busy if rng.random() < 0.93 else not busy
        warmth = round(rng.gauss(15, 5), 1)
        mean = exp((4.6 if busy else 3.4) + 0.03 * (warmth - 15))
        count = round(rng.gauss(mean, mean**0.5))
        lines.append(f"{day + 1},{warmth},{count if day < 70 else ''}")
    return "\n".join(lines)


def sentences(rng: Random) -> str:
    """400 sentences of two kinds of stories."""
    lines = []
    for _ in range(400):
        words = [word if isinstance(word, str) else rng.choice(word) for word in rng.choice(STORIES)]
        lines.append(" ".join(words + (["again"] if rng.random() < 0.3 else [])))
    return "\n".join(lines)


def loads(rng: Random) -> str:
    """The load of a machine on 30 days, a number every half hour: it idles, works or cools down, each for some hours."""
    law = {"idle": (0.5, 0.3, (5, 10)), "works": (6.0, 0.8, (3, 8)), "cools": (2.5, 0.5, (1, 3))}
    after = {"idle": ("works",), "works": ("cools", "cools", "idle"), "cools": ("idle", "works")}
    lines = []
    for _ in range(30):
        load, state = list[float](), rng.choice([*law])
        while len(load) < 48:
            mean, sd, (low, high) = law[state]
            load += [round(rng.gauss(mean, sd), 1) for _ in range(rng.randint(low, high))]
            state = rng.choice(after[state])
        lines.append(dumps({"x": load[:48]}))
    return "\n".join(lines)


def unspaced(rng: Random) -> str:
    """Sentences without the spaces between their words."""
    return sentences(rng).replace(" ", "")


TABLES = {
    "answers.csv": answers,
    "visits.csv": visits,
    "visitors.csv": visitors,
    "sentences.txt": sentences,
    "loads.jsonl": loads,
    "unspaced.txt": unspaced,
}


def tables() -> dict[str, str]:
    """The text of each file."""
    return {name: table(Random(number)) + "\n" for number, (name, table) in enumerate(TABLES.items())}


if __name__ == "__main__":
    for name, text in tables().items():
        (DATA / name).write_text(text, encoding="utf-8")
