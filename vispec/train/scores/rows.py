"""From padded tensors to one JSON object per row: true lengths, no padding, tokens and labels as the data had them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from vispec.model.dims import evaluate
from vispec.model.extent import element_plates
from vispec.model.model import Let, Model, Variable
from vispec.model.types import FINITE_DOMAINS, Type
from vispec.plan.treat import chain_of
from vispec.train.data.encoding.labels import group_of, is_coded, told
from vispec.train.data.encoding.subwords import joined
from vispec.train.data.encoding.vocab import Encoders, Vocabulary

Array = np.ndarray[Any, Any]
Leaf = Callable[[Array, "Mapping[str, int]"], Any]
"""From what a tensor holds at one element of all plates, and the position in each of them, to JSON."""

Close = Callable[[list[Any]], list[Any]]

ROW = ""  # stands for the data plate in a position


class Rows:
    """The rows of one batch. `lengths` are tensors under the plates' length keys, as in a batch."""

    def __init__(self, model: Model, encoders: Encoders, lengths: Mapping[str, Tensor]):
        self.model, self.encoders = model, encoders
        self.plates = model.plate
        keys = {plate.name: plate.length_key for plate in model.plates if plate.ragged}
        self.lengths = {name: lengths[key].cpu().numpy() for name, key in keys.items() if key in lengths}
        self.data = next((plate.name for plate in model.plates if plate.data), None)

    def values(self, values: Mapping[str, Tensor], decode: bool = True, cut: bool = False) -> list[dict[str, Any]]:
        """Values of variables, {x: (B, *plates, *event)}; with `decode`, words and labels in the place of ids; with `cut`,
        sequences of tokens without their begin symbol and without what comes from the end symbol on."""

        def column(name: str, tensor: Tensor) -> list[Any]:
            type_ = self.model.variable[name].type
            if type_.domain == "parse" and tensor.dim() == len(element_plates(self.model.variable[name])) + 1:
                return self._variable(name, tensor, lambda cell, at: cell.tolist(), self._as_nodes(name))
            close = self._cutter(name) if cut else list
            words = self.words(self.model.variable[name]) if decode else None
            whole = self._joiner(name) if decode else list
            return self._variable(name, tensor, lambda cell, at: _value(type_, cell, words), lambda items: whole(close(items)))

        return _transpose({name: column(name, values[name]) for name in self._in_rows(values)})

    def parses(self, nodes: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Nodes of parses in preorder (B, m, 3), first element, last element and label, the last by name."""
        return _transpose({name: [self.named(name, tree) for tree in found.tolist()] for name, found in nodes.items()})

    def named(self, name: str, tree: Sequence[Sequence[int]]) -> list[list[Any]]:
        """The nodes of one parse, those of elements by labels of their own where these are apart."""
        if tree and isinstance(tree[0][0], list):
            return [self.named(name, each) for each in tree]  # type: ignore[arg-type]
        type_ = self.model.variable[name].type
        own, over = (self.encoders.vocabularies.get(str(dim)) for dim in (type_.card, type_.symbols or type_.card))
        if own is None or over is None:
            return [[*node] for node in tree if node[0] >= 0]
        apart = 0 if type_.symbols is None else len(over)
        names = [(over.tokens[label] if a < b else own.tokens[label - apart]) for a, b, label in tree if a >= 0]
        return [[node[0], node[1], each] for node, each in zip((n for n in tree if n[0] >= 0), names, strict=True)]

    def _as_nodes(self, name: str) -> Close:
        """From what data tell of a parse at each element to its nodes in preorder."""
        type_ = self.model.variable[name].type
        over = self.encoders.vocabularies.get(str(type_.symbols))
        apart = len(over) if over is not None else self._apart(type_)

        def close(cells: list[Any]) -> list[Any]:
            nodes = [(at, at, apart + cell[0]) for at, cell in enumerate(cells)]
            nodes += [tuple(cell[1:]) for cell in cells if 0 <= cell[1] < cell[2]]
            return self.named(name, sorted(nodes, key=lambda node: (node[0], -node[1])))

        return close

    def _apart(self, type_: Type) -> int:
        """The number of the first label of elements alone."""
        known = {size.name: size.value for size in self.model.sizes if size.value is not None}
        return 0 if type_.symbols is None else evaluate(type_.symbols, known) or 0

    def distributions(self, posterior: Mapping[str, Tensor | Mapping[str, Tensor]]) -> list[dict[str, Any]]:
        """Probabilities {c: (B, *plates, K)} as lists, and parameters {z: {loc: (B, *plates, *event)}} as objects of lists."""
        columns: dict[str, list[Any]] = {}
        for name in self._in_rows(posterior):
            found, type_ = posterior[name], self._node(name).type
            if isinstance(found, Tensor):
                columns[name] = self._variable(name, found, lambda cell, at, type_=type_: self._marginal(type_, cell, at))
            else:
                columns[name] = _transpose({key: self._variable(name, tensor, _number) for key, tensor in found.items()})
        return _transpose(columns)

    def pairs(self, posterior: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Probabilities of neighbours in chains, {c: (B, *plates, K, K)} with one element fewer along each chain."""
        chains = {chain_of(self.model.variable[name], self.model) for name in posterior}
        fewer = copy(self)
        fewer.lengths = {plate: np.maximum(n - (plate in chains), 0) for plate, n in self.lengths.items()}
        return fewer.distributions(posterior)

    def predicted(self, values: Mapping[str, Tensor], rule: str) -> list[dict[str, Any]]:
        """Predictions by a decision rule: expectations of numbers, and the probabilities of labels (under "probs" those of
        counts too); `x_q05` for each quantile; of several draws a list at each cell."""
        word, _, rest = rule.partition("(")
        if word == "quantiles":
            levels = [level_name(level) for level in rest.rstrip(")").split(",")]
            parts = {name: values[name].unbind(-1) for name in self._in_rows(values)}
            told = {f"{n}_{level}": self.values({n: parts[n][i]}) for n in parts for i, level in enumerate(levels)}
            return [
                {n: next(iter(row.values())) for n, row in zip(told, rows, strict=True)}
                for rows in zip(*told.values(), strict=True)
            ]
        if word == "sample" and rest:
            return _transpose({name: self._draws(name, values[name]) for name in self._in_rows(values)})
        finite = {name for name in values if self._node(name).type.domain in FINITE_DOMAINS}
        spread = word in ("mean", "probs")
        shared = {n for n, v in values.items() if spread and v.is_floating_point() and (word == "mean" or n in finite)}
        counts = {name: values[name] for name in values if word == "probs" and name not in shared}
        rows = self.values({n: v for n, v in values.items() if n not in shared and n not in counts}, cut=True)
        means = self.distributions({name: values[name] for name in shared})
        return [merged(each) for each in zip(*(part for part in (rows, means, self.numbers(counts)) if part), strict=True)]

    def _draws(self, name: str, tensor: Tensor) -> list[Any]:
        """Draws that stand last, (B, *plates, *event, n), as lists at each cell."""
        variable = self.model.variable[name]
        words = self.words(variable)
        leaf = lambda cell, _: [_value(variable.type, draw, words) for draw in np.moveaxis(cell, -1, 0)]  # noqa: E731
        return self._variable(name, tensor, leaf)

    def numbers(self, values: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        """Numbers at each element of the variables' plates, such as an entropy: {c: (B, *plates, ...)}."""
        return _transpose({name: self._variable(name, values[name], _number) for name in self._in_rows(values)})

    def _in_rows(self, values: Mapping[str, Any]) -> list[str]:
        """What is in the data plate among the keys; all outside it has one value for all rows."""
        known = {*self.model.variable, *self.model.let}
        return [name for name in values if name in known and self.data in self._node(name).plates]

    def _node(self, name: str) -> Variable | Let:
        return self.model.variable.get(name) or self.model.let[name]

    def shared(self, values: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Any]:
        """Parameters {z: {mean: (*plates, *event)}} of what stands outside the data plate, as objects of lists."""
        outside = [name for name in values if name not in self._in_rows(values)]
        return {name: {key: plain(tensor.cpu().numpy()) for key, tensor in values[name].items()} for name in outside}

    def _variable(self, name: str, tensor: Tensor, leaf: Leaf, close: Close = list) -> list[Any]:
        """What each row has of a variable (B, *plates, ...)."""
        inner = [plate for plate in element_plates(self._node(name)) if plate != self.data]
        cells = tensor.detach().cpu().numpy()
        return [self._nest(cell, inner, {ROW: row}, leaf, close) for row, cell in enumerate(cells)]

    def _nest(self, cells: Array, plates: Sequence[str], at: Mapping[str, int], leaf: Leaf, close: Close) -> Any:
        """Lists along `plates`, each as long as its row says, with leaf(cell, at) inside; `close` ends the innermost ones."""
        if not plates:
            return leaf(cells, at)
        head, *rest = plates
        size = self._size(head, at)
        count = len(cells) if size is None else min(size, len(cells))
        items = [self._nest(cells[i], rest, {**at, head: i}, leaf, close) for i in range(count)]
        return items if rest else close(items)

    def _size(self, plate: str, at: Mapping[str, int]) -> int | None:
        """The length of a ragged plate at a position in those around it; None where its tensor dimension says it."""
        if plate not in self.lengths:
            return None
        outer = [p for p in self.plates[plate].inside if p != self.data]
        return int(self.lengths[plate][(at[ROW], *(at[p] for p in outer))])

    def words(self, variable: Variable) -> Sequence[str | int] | None:
        """What the ids of a variable stand for, None where they are plain numbers."""
        type_ = variable.type
        if type_.domain in ("token", "parse") and type_.card in self.encoders.vocabularies:
            return self.encoders.vocabularies[str(type_.card)].tokens
        if not is_coded(self.model, type_):
            return None
        labels = type_.labels or self.encoders.labels.get(group_of(self.model, variable))
        return None if labels is None else told(labels)

    def _cutter(self, name: str) -> Close:
        """Ends a decoded sequence at its end symbol. Given sequences, and those that an index points into, stay whole."""
        variable = self.model.variable[name]
        vocabulary = self.encoders.vocabularies.get(str(variable.type.card)) if variable.type.domain == "token" else None
        pointed_at = {other.type.plate for other in self.model.variables}
        if vocabulary is None or variable.role == "given" or pointed_at & set(variable.plates):
            return list

        def close(items: list[Any]) -> list[Any]:
            stop = next((i for i, item in enumerate(items) if _is(vocabulary, vocabulary.end, item)), len(items))
            return items[1 if items and _is(vocabulary, vocabulary.begin, items[0]) else 0 : stop]

        return close

    def _joiner(self, name: str) -> Close:
        """Puts the pieces of words together, where the entries of a vocabulary are such."""
        type_ = self.model.variable[name].type
        vocabulary = self.encoders.vocabularies.get(str(type_.card)) if type_.domain == "token" else None
        return list if vocabulary is None or not vocabulary.pieces else partial(joined, vocabulary)

    def _marginal(self, type_: Type, cell: Array, at: Mapping[str, int]) -> Any:
        """Probabilities of all values; of an index, only of the elements that are there, and of a head, of the root too."""
        size = self._size(type_.plate, at) if type_.plate is not None and cell.ndim else None
        return plain(cell if size is None else cell[(slice(size + (type_.domain == "tree")),) * cell.ndim])


def _is(vocabulary: Vocabulary, symbol: str | None, item: Any) -> bool:
    """Whether an item, a word or an id, is this symbol."""
    return symbol is not None and item in (symbol, vocabulary.ids.get(symbol))


def plain(cell: Array) -> Any:
    """Nested lists of Python numbers; a float32 becomes the shortest decimal that means it."""
    if cell.dtype == np.float32:
        return cell.astype(str).astype(np.float64).tolist()
    return cell.tolist()


def _number(cell: Array, at: Mapping[str, int]) -> Any:
    return plain(cell)


def _value(type_: Type, cell: Array, words: Sequence[str | int] | None) -> Any:
    """Words where there are any, else integers for discrete types and decimals for the others."""
    if words is not None:
        return _map(cell.tolist(), lambda i: words[i] if 0 <= i < len(words) else i)
    return cell.astype(np.int64).tolist() if type_.discrete else plain(cell)


def _map(value: Any, function: Callable[[int], Any]) -> Any:
    """`function` of every integer of nested lists."""
    return [_map(item, function) for item in value] if isinstance(value, list) else function(int(value))


def level_name(level: str) -> str:
    """Of a quantile: q05, q10, q025."""
    return f"q{level.strip().partition('.')[2]:0<2}"


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}


def _transpose(columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Rows of columns of equal length."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
