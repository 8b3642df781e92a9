"""One net as the text of an nn.Module: `features` is its trunk, `forward` its raw heads, `prefixes` those of all prefixes."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import takewhile
from keyword import kwlist

from vispec.catalog import networks
from vispec.model.model import Const, Draw, Embedding, Law, Model, Net, Stage
from vispec.model.show import show_stage
from vispec.model.types import FINITE_DOMAINS, INTEGER_DOMAINS, Type
from vispec.model.walk import law_parts
from vispec.torch.nets.code import Line, NetWriter, assignment, free, names_in, plus, python_size, times
from vispec.torch.nets.stream import Part, Stream
from vispec.torch.nets.uses import Uses, uses
from vispec.torch.nets.words import identifier, size_name
from vispec.torch.text.names import PYTHON
from vispec.torch.text.source_text import kernel_names
from vispec.trunk import bind, reads_memory


@dataclass(frozen=True)
class NetCode:
    """text: the class. sizes: those, and vocabularies, that its constructor takes, in this order, by their names in the spec.
    tables: those that it takes behind them.

    kernels: (module, name) of the definitions to put before it. imports: lines for the head of the file (python layers).
    madds: multiply-adds of one row as Python text over the sizes, T (the sequence's length) and S (that of the memory).
    """

    text: str
    class_name: str
    sizes: tuple[str, ...]
    tables: tuple[str, ...]
    kernels: tuple[tuple[str, str], ...]
    madds: str
    imports: tuple[str, ...] = ()


def emit_net(net: Net, model: Model, modes: Collection[str], stepped: Collection[str] | None = None) -> NetCode:
    """modes: "whole" where the net is called with what it has, "prefix" where it is called with `x[<i]`, "next" where it is so
    called element by element, "elements" where it is called with many masks of one sequence.

    stepped: arguments without a star that `prefixes` gets as (*B, T or 1, *event), not (*B, *event), T being the prefix's axis;
    by default those that vary along it."""
    used, w = uses(net, model), NetWriter()
    used = used if stepped is None else replace(used, stepped=frozenset(stepped))
    methods = [method for mode in METHODS if mode in modes for method in emit_methods(net, w, used, mode, modes)]
    known = [*(size.name for size in model.sizes), *(vocab.name for vocab in model.vocabs)]
    read = set(names_in([*w.attributes.values()]))
    sizes = tuple(name for name in known if size_name(name) in read)
    taken = {model.name, *PYTHON, *kwlist, *kernel_names(), *names_in(list(w.imports)), *map(size_name, known)}
    for other in model.nets[: model.nets.index(net)]:
        taken.add(class_name(other.name, taken))
    name = class_name(net.name, taken)
    text = class_text(net, model, name, sizes, w, methods)
    return NetCode(text, name, sizes, tuple(w.tables), tuple(w.kernels), cost_text(w), tuple(w.imports))


def class_name(name: str, taken: Collection[str]) -> str:
    """CamelCase; with Net behind it where the model, a kernel, a size or Python has that name."""
    camel = "".join(word[:1].upper() + word[1:] for word in name.split("_"))
    camel = camel if camel.isidentifier() else f"Net{camel}"  # of underscores and digits
    return free(camel if camel not in taken else f"{camel}Net", set(taken))


def cost_text(w: NetWriter) -> str:
    return str(plus(*(int(term) if term.isdigit() else term for term in w.madds)))


# ---- methods


def emit_methods(net: Net, w: NetWriter, used: Uses, mode: str, modes: Collection[str]) -> list[str]:
    """The trunk's and the heads' method of one mode."""
    names = [argument(net, name) for name, _ in net.args]
    masks = [*masks_of(net), *map(counts_of, used.counted if mode == "whole" else ())]
    spared = w.madds
    w.lines, w.taken, w.madds = [], {*names, *masks, "self", "torch", "nn", "F", "Tensor"}, []
    w.arguments = (*names, *(f"{mask}={mask}" for mask in masks))
    stream = flow(net, w, used, mode, causal="prefix" in modes or "next" in modes)
    result = stream.flatten()
    if mode == "next":
        result = replace(result, text=f"{result.text}.squeeze(-2)", sequence=False, stepped=False)
    stream.prior, size = gaussian(net.prior), plus(*(head_size(type) for _, type in net.heads))
    out = w.attribute(("out",), "out", w.last or stream.affine(result.width, size))
    w.madds.append(str(times(result.width, size, *(["T"] if result.timed else []))))
    trunk, heads = METHODS[mode]
    first = ["self", "kept: dict[str, Tensor]"] if mode == "next" else ["self"]
    signature = ", ".join(
        [*first, *(f"{name}: Tensor" for name in names), *(f"{mask}: Tensor | None = None" for mask in masks)]
    )
    call = f"{out}(self.{trunk}({', '.join([*(['kept'] if mode == 'next' else []), *w.arguments])}))"
    body = w.body(result.text)
    lead = "*B, T" if result.timed else "*B"
    docs = [signature_shapes(net, used, mode) + f" → ({lead}, {shown(result.width)})."]
    if mode == "prefix":
        docs = [f"{docs[0][:-1]}; position i has read only what stands before it."]
    if mode == "next":
        docs = [f"{docs[0][:-1]}: of the position behind those that `kept` has read."]
    kind = "Tensor" if len(net.heads) == 1 else "tuple[Tensor, ...]"
    methods = [
        method(f"{trunk}({signature}) -> Tensor", docs, body),
        method(f"{heads}({signature}) -> {kind}", [head_doc(net, lead)], head_lines(net, w, call)),
    ]
    if mode == "next":
        w.madds = spared
        return [*w.memory, *methods]
    return [*methods, *element_methods(net, w, out, kind)] if mode == "whole" and "elements" in modes else methods


def element_methods(net: Net, w: NetWriter, out: str, kind: str) -> list[str]:
    """A net of the mean of some elements in two parts, so that the one which does not depend on the choice is run once."""
    assert w.mean_of is not None
    (name,) = (argument(net, name) for name, _ in net.args)
    w.lines, module, sequence, mask = w.mean_of
    before = w.body(f"{w.kernel('sequence', 'before_mean')}({module}[0], {sequence})")
    call = f"{out}({w.kernel('sequence', 'after_means')}({module}, elements, {mask}))"
    docs = f"elements (*B, T + 1, H) of that method, {mask} (*B, S, T) → {head_doc(net, '*B, S')}"
    return [
        method(f"elements(self, {name}: Tensor) -> Tensor", ["What is the same for every choice: (*B, T + 1, H)."], before),
        method(f"of_elements(self, elements: Tensor, {mask}: Tensor) -> {kind}", [docs], head_lines(net, w, call)),
    ]


METHODS = {
    "whole": ("features", "forward"),
    "prefix": ("prefix_features", "prefixes"),
    "next": ("next_features", "next"),
}
"""The trunk's and the heads' method of each mode."""


def flow(net: Net, w: NetWriter, used: Uses, mode: str, causal: bool) -> Stream:
    """Run the trunk's layers over the arguments."""
    prefixes = mode != "whole"
    memory = used.memory
    parts = [part_of(net, name, used, prefixes) for name, type in net.args if name != memory]
    stars = [name for name, type in net.args if type.star and name != memory]
    mask = mask_of(stars[0]) if stars else "None"
    late = frozenset(argument(net, name) for name in stars if name not in used.prefix) if prefixes else frozenset()
    starred = any(type.star for _, type in net.heads)
    known = "" if prefixes else next(map(counts_of, used.counted), "")
    own = {"next": mode == "next", "name": net.name, "late": late, "starred": starred, "holes": used.holes, "known": known}
    main = Stream(w, parts, mask, prefixes, causal=causal, **own)
    streams = [main]
    if memory is not None:
        part = part_of(net, memory, used, False)
        main.memory = Stream(w, [part], mask_of(memory), suffix=f"_{identifier(memory)}")
        streams = [main.memory, main]
    if used.holes and not prefixes and reads_order(net):
        keep_first(main)
    for stream in streams:
        for position, stage in enumerate(read_alike(net, str(memory)) if stream is main.memory else net.trunk):
            if stream is main and not starred and reads_no_more(stream, net.trunk[position:]):
                stream.read_last()
            stream.layer, stream.position, stream.prior = stage.layer, position, gaussian(stage.prior or net.prior)
            stream.following = net.trunk[position + 1].layer if position + 1 < len(net.trunk) else ""
            networks()[stage.layer].emit(stream, **bound(net, stage))
        if stream is main.memory and main.next and read_alike(net, str(memory)):
            remember(net, w, main, stream, str(memory))
    if not starred:
        main.read_last()
    return main


def read_alike(net: Net, memory: str) -> tuple[Stage, ...]:
    """The layers before the first that reads the memory. Symbols go through copies of them; numbers are read as they are."""
    if dict(net.args)[memory].domain not in INTEGER_DOMAINS:
        return ()
    return tuple(takewhile(lambda stage: not reads_memory(stage), net.trunk))


def remember(net: Net, w: NetWriter, main: Stream, memory: Stream, name: str) -> None:
    """The memory is the same at every element: a method of its own, called once."""
    whole, own = memory.flatten(), argument(net, name)
    head = f"memory_features(self, {own}: Tensor, {memory.mask}: Tensor | None = None) -> Tensor"
    w.memory = [method(head, [f"{own} (*B, S) → (*B, S, {shown(whole.width)})."], w.body(whole.text))]
    w.lines, key = [], ", ".join(main.kept("memory"))
    text = f"{w.kernel('steps', 'once')}({key}, lambda: self.memory_features({own}, {memory.mask}))"
    memory.parts = [Part(text, whole.width, sequence=True)]


def gaussian(prior: Law | None) -> tuple[float, float] | None:
    """Mean and deviation of each weight under its prior."""
    if not isinstance(prior, Draw):
        return None
    loc, scale = (float(part.value) for part in law_parts(prior) if isinstance(part, Const))
    return loc, scale


def bound(net: Net, stage: Stage) -> dict:
    """The stage's settings with sizes as the constructor's arguments."""
    options = networks()[stage.layer].options
    settings = bind(stage)
    for name, option in options.items():
        if option.kind == "size" and settings[name] is not None:
            settings[name] = python_size(settings[name])
        elif isinstance(table := settings[name], Embedding):
            settings[name] = replace(table, rows=python_size(table.rows), width=python_size(table.width))
        elif option.kind == "embedding" and settings[name] is not None:
            settings[name] = python_size(settings[name])
        elif option.kind == "sizes":
            value = settings[name] if isinstance(settings[name], tuple) else (settings[name],)
            settings[name] = tuple(python_size(size) for size in value)
        elif option.kind == "argument" and settings[name] is not None:
            settings[name] = argument(net, settings[name])
    return settings


def reads_order(net: Net) -> bool:
    """Some layer reads neighbours, or the last element is read because none pools."""
    layers = [networks()[stage.layer] for stage in net.trunk]
    return any(layer.ordered for layer in layers) or not any(layer.pools for layer in layers)


def reads_no_more(stream: Stream, rest: tuple[Stage, ...]) -> bool:
    """Every layer from here on works on single elements that are vectors already, so that the last one will do."""
    raw = any(part.sequence and part.card is not None for part in stream.parts)
    return stream.sequence and not raw and all(networks()[stage.layer].sequence == "element" for stage in rest)


def keep_first(stream: Stream) -> None:
    """Close the gaps of `y[*] where f[*]` before a layer that reads neighbours."""
    names = [part.arg for part in stream.parts if part.sequence]
    function = stream.kernel("sequence", "keep_first")
    stream.net.lines.append(
        Line((stream.mask, *names), f"{function}({', '.join([stream.mask, *names])})", "what counts comes first")
    )


def argument(net: Net, name: str) -> str:
    """An argument's name in the class, where it must hide neither a kernel nor a mask. Calls go by position."""
    safe = identifier(name)
    return f"{safe}_" if safe in kernel_names() or safe in masks_of(net) else safe


def mask_of(name: str) -> str:
    return identifier(f"{name}_mask")


def counts_of(name: str) -> str:
    return identifier(f"{name}_counts")


def masks_of(net: Net) -> list[str]:
    return [mask_of(name) for name, type in net.args if type.star]


def part_of(net: Net, name: str, used: Uses, prefixes: bool) -> Part:
    """An argument as a part: integers of known range to be embedded, single numbers as vectors of one."""
    type, text = dict(net.args)[name], argument(net, name)
    stepped = prefixes and name in used.stepped
    shape = tuple(python_size(dim) for dim in type.shape)
    if type.domain in FINITE_DOMAINS and type.domain != "bit" and type.card is not None:
        card = plus(python_size(type.card), name in used.rooted)
        return Part(text, 1, text, card, shape, type.star, stepped)
    if not shape:
        number = f"{text}.unsqueeze(-1)" + ".to(self.out.weight)" * (type.domain in INTEGER_DOMAINS)
        return Part(number, 1, text, None, (), type.star, stepped)
    return Part(text, times(*shape), text, None, shape, type.star, stepped)


# ---- heads


def head_size(type: Type) -> int | str:
    return times(*(python_size(dim) for dim in type.shape))


def head_lines(net: Net, w: NetWriter, call: str) -> list[str]:
    """From the one linear layer behind the trunk to each head's own shape."""
    types = [type for _, type in net.heads]
    if len(types) == 1:
        return [f"return {call}{own_shape(w, types[0])}"]
    ends = [""] * len(types)
    if not any(type.shape for type in types):
        apart = "unbind(-1)"
    elif all(len(type.shape) == 1 for type in types) and len({type.shape for type in types}) == 1:
        apart = f"chunk({len(types)}, -1)"
    else:
        apart = f"split(({', '.join(w.size(head_size(type)) for type in types)}), -1)"
        ends = [own_shape(w, type) for type in types]
    slow = [".contiguous()" if RAW.get(type.domain) == "before softplus" else "" for type in types]
    if not any(ends) and not any(slow):
        return [f"return {call}.{apart}"]
    names = [identifier(name) for name, _ in net.heads]
    parts = ", ".join(map("".join, zip(names, ends, slow, strict=True)))
    why = "  # torch's softplus is slow on slices" if any(slow) and len(parts) < 70 else ""
    assign = f"{', '.join(names)} = {call}.{apart}"
    lines = [assign] if len(assign) < 115 else [f"raw = {call}", f"{', '.join(names)} = raw.{apart}"]
    return [*lines, f"return {parts}{why}"]


def own_shape(w: NetWriter, type: Type) -> str:
    if not type.shape:
        return ".squeeze(-1)"
    return "" if len(type.shape) == 1 else f".unflatten(-1, ({', '.join(w.size(python_size(dim)) for dim in type.shape)}))"


def shown(width: int | str) -> str:
    """A size in a comment: F where its text would be too long to help."""
    return str(width) if len(str(width)) < 24 else "F"


RAW = {
    "unit": "log-odds",
    "bit": "log-odds",
    "simplex": "unnormalised log-probabilities",
    "positive": "before softplus",
    "count": "before softplus",
    "ordered": "before its link",
    "cholesky": "before its link",
}


def head_doc(net: Net, lead: str) -> str:
    """What a call returns: `loc (*B, D), scale (*B, D) before softplus`."""
    texts = []
    for name, type in net.heads:
        shape = f"({', '.join([lead, *map(str, type.shape)])})"
        texts.append(" ".join(word for word in (name, shape, RAW.get(type.domain, "")) if word))
    return ", ".join(texts) + "."


# ---- text


def signature_shapes(net: Net, used: Uses, mode: str) -> str:
    """What a call takes: `z (*B, Z), words (*B, T)`."""
    texts = []
    memory = used.memory
    for name, type in net.args:
        stepped = mode == "prefix" and name in used.stepped
        length = ["S" if name == memory else "T"] if type.star else ["T or 1"] if stepped else []
        if mode == "next":
            length = ["S" if name == memory else "1 or 0"] if type.star else ["1"] if name in used.stepped else []
        texts.append(f"{argument(net, name)} ({', '.join(['*B', *length, *map(str, type.shape)])})")
    return ", ".join(texts)


def method(head: str, docs: list[str], body: list[str]) -> str:
    lines = [f"    def {head}:"] if len(head) < 118 else wrapped_head(head)
    return "\n".join([*lines, *(f'        """{doc}"""' for doc in docs), *(f"        {line}" for line in body)])


def wrapped_head(head: str) -> list[str]:
    name, rest = head.split("(", 1)
    inside, result = rest.rsplit(")", 1)
    lines = [inside] if len(inside) < 120 else [f"{each}," for each in re.split(r", (?=\w+: )", inside)]
    return [f"    def {name}(", *(f"        {line}" for line in lines), f"    ){result}:"]


def class_text(net: Net, model: Model, name: str, sizes: tuple[str, ...], w: NetWriter, methods: list[str]) -> str:
    """The class with its constructor; sizes that methods read come first."""
    kept = {attribute for owner, attribute in w.owners.items() if owner[0] == "size"}
    ordered = sorted(w.attributes.items(), key=lambda item: item[0] not in kept)
    lines = [line for attribute, text in ordered for line in assignment(f"self.{attribute}", text)]
    told = [*(f"{size_name(size)}: int" for size in sizes), *(f"{table}: nn.Embedding" for table in w.tables.values())]
    head = f"    def __init__({', '.join(['self', *told])}):"
    start = ["", head, "        super().__init__()", *(f"        {line}" for line in lines)]
    return "\n".join([f"class {name}(nn.Module):", *class_doc(net, model), *start, *(f"\n{text}" for text in methods)]) + "\n"


def class_doc(net: Net, model: Model) -> list[str]:
    """The net as the spec declares it, or what it reads and gives where a guide was made for a latent."""
    args = ", ".join(f"{name}: {type}" for name, type in net.args)
    heads = ", ".join(f"{name}: {type}" if name else str(type) for name, type in net.heads)
    types = f"({args}) → {heads if len(net.heads) == 1 else f'({heads})'}"
    if any(stage.span == net.span for stage in net.trunk):
        trunk = " |> ".join(map(show_stage, net.trunk))
    else:
        trunk = " |> ".join(" ".join(model.source.text[stage.span.start : stage.span.end].split()) for stage in net.trunk)
    one = f'    """{types}: {trunk}."""'
    return [one] if len(one) <= 128 else [f'    """{types}:', "", f"    {trunk}", '    """']
