"""Rows for a reader's eyes: values beside the words that they belong to, probabilities beside the values that they are of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vispec.diagnostics import plain
from vispec.model.extent import element_plates
from vispec.model.model import Let, Model, Variable
from vispec.model.types import FINITE_DOMAINS
from vispec.screen import CLOSES, OPENS, WIDE, chosen, folded
from vispec.train.data.encoding.labels import is_whole
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.scores.rows import Rows

Labels = Mapping[str, Sequence[str | int]]
"""By variable what its values are called, and by plate its elements; where nothing is said, by their positions."""

MOST = 12  # probabilities of one value that are told in full; of more, some of the largest
SOME = 6
NUMBER = "{:>6}  "
TITLES = {"(effective_samples)": "effective samples", "(log_joint)": "log-joint, nats", "(joint)": "all together"}


@dataclass(frozen=True)
class Aligned:
    """The data of one row, by variable, to write answers beside. opened: plates of whose elements they are one."""

    model: Model
    values: Mapping[str, Any]
    opened: tuple[str, ...] = ()
    labels: Labels = field(default_factory=dict[str, Sequence[str | int]])

    def node(self, name: str) -> Variable | Let | None:
        return self.model.variable.get(name) or self.model.let.get(name)

    def inner(self, node: Variable | Let) -> list[str]:
        """The plates along which a value is a list."""
        return [p for p in element_plates(node) if not self.model.plate[p].data and p not in self.opened]

    def words(self, plate: str, count: int | None = None) -> list[str] | None:
        """The words along a plate in which nothing else is open but the data plate, if a variable of tokens stands there.
        count: of its elements, where a sequence may have been told without the symbols around it."""
        for name, value in self.values.items():
            variable = self.model.variable[name]
            if (
                self.inner(variable) == [plate]
                and variable.type.domain == "token"
                and variable.role != "latent"
                and not variable.type.shape
            ):
                words = [plain(str(word)) for word in value]
                begins = any(
                    vocab.name == variable.type.card and dict(vocab.options).get("begin") for vocab in self.model.vocabs
                )
                words = ["(begin)", *words] if begins and len(words) < (count or 0) else words
                return [*words, "(end)"] if len(words) + 1 == count else words
        return None

    def between(self, plate: str) -> str:
        """What stands between the words along a plate."""
        found = (v for v in self.model.variables if self.inner(v) == [plate] and v.type.domain == "token" and not v.type.shape)
        return next((between(self.model, variable) for variable in found), " ")

    def label(self, name: str, value: Any) -> str:
        """One row's value of a variable: `the→le` for indices between words, `the/3` beside words, else the value alone."""
        variable = self.model.variable[name]
        inner = self.inner(variable)
        if not isinstance(value, list) or len(inner) != 1:
            return _short(value)
        if variable.type.domain == "parse" and value and isinstance(value[0], list):
            return brackets(value, self.words(inner[0], (len(value) + 1) // 2))
        if variable.type.domain == "segments" and value and isinstance(value[0], list):
            words, joint = self.words(inner[0], value[-1][1] + 1), self.between(inner[0])
            return stretches(value, words, variable.type.labels, joint, variable.type.card != 1)
        if variable.type.domain == "token":
            return between(self.model, variable).join(_short(item) for item in value)
        if all(isinstance(item, int) for item in value) and (text := self.chosen(name, value)) is not None:
            return text
        left = self.words(inner[0], len(value))
        points = variable.type.plate is not None and variable.type.element is None
        target = self.words(str(variable.type.plate)) if points else None
        if variable.type.domain == "tree" and target is not None:
            target = ["(root)", *target]  # a head counts from 1
        right = [target[v] if target is not None and isinstance(v, int) and v < len(target) else _short(v) for v in value]
        if left is None or len(left) != len(right):
            return " ".join(right)
        arrow = "→" if target is not None else "/"
        return " ".join(f"{a}{arrow}{b}" for a, b in zip(left, right, strict=True))

    def chosen(self, name: str, value: Sequence[int | float]) -> str | None:
        """The text that bits choose from, the chosen words marked: of the only given variable of tokens in their plate. By
        probabilities, each word beside its own, and marked where it is likelier chosen than not. None for other variables."""
        node = self.node(name)
        if node is None or node.type.domain != "bit" or node.type.shape or len(inner := self.inner(node)) != 1:
            return None
        tokens = [v for v in self.model.variables if v.role == "given" and v.type.domain == "token" and v.plates == node.plates]
        words = self.words(inner[0]) if len(tokens) == 1 and tokens[0].name in self.values else None
        if words is None or len(words) != len(value):
            return None
        if all(isinstance(each, int) for each in value):
            space = between(self.model, tokens[0])
            text = space.join(chosen(word) if on else word for word, on in zip(words, value, strict=True))
            return text if space else text.replace(CLOSES + OPENS, "")
        told = [(f"{word}={p:.2f}", p) for word, p in zip(words, value, strict=True)]
        return " ".join(chosen(text) if p >= 0.5 else text for text, p in told)

    def several(self, name: str, value: Any) -> bool:
        """Whether a value of tokens is several sequences, each of one plate."""
        variable = self.model.variable.get(name)
        one = variable is not None and variable.type.domain == "token" and len(self.inner(variable)) == 1
        return one and isinstance(value, list) and bool(value) and all(isinstance(each, list) for each in value)

    def probabilities(self, name: str, value: Any) -> list[tuple[str, Sequence[float]]] | None:
        """(element, probabilities of its values) where they are such; the element is empty where there is one alone."""
        node = self.node(name)
        if node is None or node.type.shape or node.type.domain not in (*FINITE_DOMAINS, "count", "parse"):
            return None
        found = list(_leaves(value, len(inner := self.inner(node))))
        if not found or not all(isinstance(leaf, list) and all(isinstance(p, float) for p in leaf) for _, leaf in found):
            return None
        words = self.words(inner[0]) if len(inner) == 1 else None
        return [(", ".join(self.element(plate, i, words) for plate, i in zip(inner, at, strict=True)), p) for at, p in found]

    def element(self, plate: str, i: int, words: list[str] | None) -> str:
        """What an element of a plate is called."""
        names = words or self.labels.get(plate, ())
        return plain(str(names[i])) if i < len(names) else str(i)

    def named(self, name: str, found: Sequence[float]) -> str:
        """Probabilities beside their values; of many, the largest."""
        node, many = self.node(name), len(found) > MOST
        points = node is not None and node.type.plate is not None and node.type.domain != "parse"
        target = self.words(str(node.type.plate)) if node is not None and points else None
        names = target or self.labels.get(name, ())
        shown = sorted(range(len(found)), key=lambda i: -found[i])[:SOME] if many else range(len(found))
        called = [plain(str(names[i])) if i < len(names) else str(i) for i in shown]
        if all(is_whole(each) for each in called):
            called = [f"P({each})" for each in called]  # 0=1 would be read as another thing
        told = [f"{each}={_short(found[i])}" for each, i in zip(called, shown, strict=True)]
        rest = f"{len(found) - SOME} others={_short(max(0.0, sum(found) - sum(found[i] for i in shown)))}"
        return "  ".join([*told, rest] if many else told)


def between(model: Model, variable: Variable) -> str:
    """What stands between the tokens of a variable, in a line of them: nothing between characters."""
    vocab = next((vocab for vocab in model.vocabs if vocab.name == variable.type.card), None)
    return "" if vocab is not None and dict(vocab.options).get("chars") else " "


def labels_of(model: Model, encoders: Encoders) -> Labels:
    """What the values of variables and the elements of plates are called."""
    rows = Rows(model, encoders, {})
    values = {variable.name: words for variable in model.variables if (words := rows.words(variable)) is not None}
    plates = {plate.name: encoders.labels.get(str(plate.size)) or encoders.labels.get(plate.name) for plate in model.plates}
    return {name: names for name, names in (values | plates).items() if names is not None}


def describe(number: int, row: Mapping[str, Any], aligned: Aligned) -> str:
    """Row `number` as indented lines, some for each variable; on one line where there is one variable with a short value.
    What all rows share has no number."""
    if "(shared)" in row:
        return "\n".join(
            ["all rows", *(line for n, v in row["(shared)"].items() for line in folded(_short(v), f"  {n}: ", "    "))]
        )
    lines = list(_lines(row, aligned, "  "))
    if len(lines) == 1 and len(lines[0]) + len(NUMBER.format(number)) <= WIDE:
        return NUMBER.format(number) + lines[0].lstrip()
    return "\n".join([f"row {number}", *lines])


def _lines(row: Mapping[str, Any], aligned: Aligned, indent: str) -> Iterator[str]:
    """Lines for each variable, and the ranks of several assignments with theirs below."""
    scores = row.get("log_prob") if "log_prob" not in aligned.model.variable else None
    for name, value in row.items():
        if value is scores and scores is not None:
            if not isinstance(value, list):
                yield f"{indent}log p: {_short(value)} nats"
            continue
        title, below = f"{indent}{TITLES.get(name, name)}: ", indent + "    "
        found = aligned.probabilities(name, value)
        if found is not None:
            if (text := aligned.chosen(name, [p[-1] for _, p in found])) is not None:
                yield from folded(text, title, below)
                continue
            if len(found) == 1 and not found[0][0]:
                yield from folded(aligned.named(name, found[0][1]), title, below)
                continue
            yield title.rstrip()
            for element, each in found:
                yield from folded(aligned.named(name, each), f"{indent}  {element}: ", below)
        elif aligned.several(name, value):
            yield title.rstrip()
            for rank, each in enumerate(value):
                told = f"  ({_short(scores[rank])} nats)" if isinstance(scores, list) else ""
                yield from folded((aligned.label(name, each) or "(empty)") + told, f"{indent}  {rank + 1}. ", below)
        elif name in aligned.model.variable:
            yield from folded(aligned.label(name, value), title, below)
        elif isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
            for rank, item in enumerate(value, 1):
                yield f"{indent}{rank}."
                yield from _lines(item, aligned, indent + "   ")
        else:
            yield from folded(_short(value), title, below)


def _leaves(value: Any, depth: int, at: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], Any]]:
    """What nested lists of this depth hold, with the positions; lists that are less deep as they are."""
    if not depth or not isinstance(value, list):
        yield at + (0,) * depth, value
        return
    for i, item in enumerate(value):
        yield from _leaves(item, depth - 1, (*at, i))


def brackets(nodes: Sequence[Sequence[int]], words: Sequence[str] | None) -> str:
    """A parse as text, `(0 (3 the) (4 cat))`: of nodes in preorder (first element, last element, label). Elements that have no
    word each are told by their positions."""
    told = words if words is not None and 2 * len(words) == len(nodes) + 1 else range(len(nodes))
    ends = Counter(last for first, last, _ in nodes if first < last)  # phrases by where they end
    parts = (f"({label}" if first < last else f"({label} {told[first]})" + ")" * ends[first] for first, last, label in nodes)
    return " ".join(parts)


def stretches(
    found: Sequence[Sequence[int]],
    words: Sequence[str] | None,
    labels: Sequence[str] | None,
    between: str = " ",
    labelled: bool = True,
) -> str:
    """The stretches of a sequence as text, `0-3/2 4-5/0` or `the cat/2 | sat/0`: of (first element, last element, label)."""
    parts = list[str]()
    for first, last, label in found:
        inside = f"{first}-{last}" if words is None or last >= len(words) else between.join(words[first : last + 1])
        parts.append(f"{inside}/{label if labels is None else labels[label]}" if labelled else inside)
    return (" " if words is None else " | ").join(parts)


def _short(value: Any) -> str:
    """Numbers to four digits, lists in brackets, objects as name=value."""
    if value is None:
        return "no value"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "[" + " ".join(_short(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "  ".join(f"{plain(str(key))}={_short(item)}" for key, item in value.items())
    return plain(str(value))
