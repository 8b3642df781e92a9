"""Every layer as emitted text: shapes, masks, causality, gradients, torch.compile."""

import ast
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from vispec.catalog import networks
from vispec.model.model import All, Embedding, Let, Model, Net, NetCall, Plate, Prefix, Ref, Size, Stage, Variable, Vocab, Where
from vispec.model.types import Type
from vispec.source import Source, Span
from vispec.torch.nets.classes import NetCode, emit_net
from vispec.torch.nets.code import assignment, ceiling, plus, times, unwrapped
from vispec.torch.text.source_text import kernel_source, with_borrowed
from vispec.trunk import noncausal_stage, trunk_problems

SIZES = {"D": 3, "Z": 2, "K": 4, "H": 6, "W": 5, "V": 7, "U": 5}
ARGUMENTS = {
    "z": Type("real", ("Z",)),
    "y": Type("category", (), card="K"),
    "x": Type("real", ("D",)),
    "s": Type("real"),
    "picture": Type("real", (3, "H", "W")),
    "pixels": Type("bit", ("H", "W")),
    "marks": Type("category", (2,), card="K"),
    "words": Type("token", card="V", star=True),
    "other": Type("token", card="V", star=True),
    "source": Type("token", card="U", star=True),
    "where": Type("index", plate="j"),
    "levels": Type("real", star=True),
    "track": Type("real", ("D",), star=True),
    "memory": Type("real", ("D",), star=True),
}
MEMORIES = ("source", "memory")
HEADS = {
    "simplex": {"": Type("simplex", ("K",))},
    "scalar": {"": Type("unit")},
    "normal": {"loc": Type("real", ("Z",)), "scale": Type("positive", ("Z",))},
    "scalars": {"loc": Type("real"), "scale": Type("positive")},
    "mixed": {"loc": Type("real", ("Z",)), "scale_tril": Type("cholesky", ("Z", "Z")), "weight": Type("unit")},
    "unequal": {"loc": Type("real", ("Z",)), "probs": Type("simplex", ("K",))},
    "image": {"": Type("unit", ("H", "W"))},
    "starred": {"": Type("simplex", ("K",), star=True)},
    "uneven": {"a": Type("simplex", ("K",), star=True), "b": Type("real")},
}
EVENT = {
    "simplex": [(4,)],
    "scalar": [()],
    "normal": [(2,), (2,)],
    "scalars": [(), ()],
    "mixed": [(2,), (2, 2), ()],
    "unequal": [(2,), (4,)],
    "image": [(6, 5)],
    "starred": [(4,)],
}

AT = Span(0, 0, 1, 1, 1, 1)
TABLES = {"E": Embedding("E", "V", 5, None, False, AT), "C": Embedding("C", "K", 5, None, False, AT)}

# (arguments, trunk, heads); the trunk is written as the language writes it
VECTORS = [
    ("y", "embed(5) | mlp([6])", "simplex"),
    ("z y", "embed(C) | mlp([6]) | tied(C)", "simplex"),
    ("y", "mlp([6, 5], activation=tanh)", "normal"),
    ("y", "linear(6)", "scalars"),
    ("x", "mlp([])", "simplex"),
    ("x", "mlp([8]) | dropout(0.5)", "mixed"),
    ("x s", "linear(6) | layernorm", "unequal"),
    ("x s y", "standardise | mlp([6])", "scalars"),
    ("z y", "mlp([6])", "image"),
    ("z y", "embed(3) | mlp([6])", "scalar"),
    ("z marks", "embed(3) | linear(4)", "scalar"),
    ("marks s", "mlp([4])", "scalar"),
    ("z y", "dropout(0.3) | mlp([4])", "scalar"),
    ("x", "mlp([6]) | residual(4) | residual", "simplex"),
    ("picture", "cnn([4, 3])", "simplex"),
    ("picture z", "cnn([4], kernel=2, stride=1) | mlp([5])", "simplex"),
    ("pixels", "cnn([4], activation=gelu)", "normal"),
    ("pixels", "mlp([4])", "normal"),
]
SEQUENCES = [  # in both modes
    ("words", "lstm(6, embed=5)", "simplex"),
    ("words z", "lstm(6, embed=5, init=z) | dropout(0.5)", "simplex"),
    ("words y", "lstm(6, embed=5, init=y, layers=2) | mlp([4])", "normal"),
    ("words z", "lstm(6, embed=5, layers=2, dropout=0.2)", "scalar"),
    ("words z", "gru(6, embed=5, init=z)", "simplex"),
    ("words z", "lstm(6, embed=E, init=z) | tied(C)", "simplex"),
    ("words", "transformer(E, heads=5, layers=1) | tied(C)", "simplex"),
    ("words y", "embed(E) | embed(3) | lstm(6)", "simplex"),
    ("words z", "embed(5) | gru(6, layers=2) | mean", "scalars"),
    ("words", "lstm(4)", "simplex"),
    ("track", "gru(4) | attend | mlp([5])", "mixed"),
    ("words z", "transformer(8, heads=2, layers=2)", "simplex"),
    ("track z", "standardise | gru(4) | mean", "normal"),
    ("track z", "transformer(8, heads=4, layers=1, hidden=6, dropout=0.1) | mlp([4])", "normal"),
    ("words", "embed(4) | mlp([5])", "simplex"),
    ("words z", "embed(4) | bow | mlp([5])", "simplex"),
    ("words", "embed(4) | mean | mlp([5])", "simplex"),
    ("words z", "bow | mlp([5])", "simplex"),
    ("words", "mean", "simplex"),
    ("words z", "embed(4) | attend | mlp([5])", "simplex"),
    ("words z", "embed(4) | cnn([5, 6], kernel=2) | mean", "simplex"),
    ("words", "embed(4) | cnn([5])", "simplex"),
    ("words", "embed(4) | residual(3) | layernorm | lstm(4)", "simplex"),
    ("words track z", "lstm(6, embed=5)", "simplex"),
    ("words other", "embed(4) | lstm(6)", "simplex"),
    ("words source", "lstm(6, embed=5) | attend | mlp([4])", "simplex"),
    ("words z source", "gru(6, embed=5, init=z) | linear(3) | attend", "simplex"),
    ("words source", "transformer(8, heads=2, layers=1) | attend", "simplex"),
    ("words source", "embed(5) | gru(6) | attend | gru(4)", "simplex"),
    ("words source", "embed(5) | transformer(8, heads=2, layers=2, attend=true)", "simplex"),
    ("words z source", "gru(6, embed=5) | transformer(8, heads=2, layers=1, dropout=0.2, attend=true) | attend", "normal"),
    ("words z memory", "transformer(E, heads=5, layers=1, attend=true) | tied(C)", "simplex"),
]
WHOLE = [  # read ahead, or give a sequence
    ("words", "lstm(6, embed=5, bidirectional=true)", "simplex"),
    ("words z", "gru(6, embed=5, bidirectional=true, layers=2, init=z) | mean", "normal"),
    ("words", "lstm(3, embed=5, bidirectional=true) | dropout(0.3)", "starred"),
    ("words z", "lstm(3, embed=5) | mlp([4])", "starred"),
    ("words z", "embed(4) | cnn([5, 6], kernel=3)", "starred"),
    ("track", "transformer(8, heads=2)", "starred"),
    ("words", "mlp([6])", "starred"),
    ("words memory", "transformer(8, heads=2, layers=1, attend=true)", "starred"),
]
EACH = [(*case, mode) for case in SEQUENCES for mode in ("whole", "prefix", "both")] + [(*case, "whole") for case in WHOLE]


def stage(text: str) -> Stage:
    """`lstm(6, embed=5, init=z)` as a checked stage."""
    node = ast.parse(text.strip(), mode="eval").body
    if isinstance(node, ast.Name):
        return Stage(node.id, (), (), None, AT)
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    kwargs = tuple((str(k.arg), setting(k.value)) for k in node.keywords)
    return Stage(node.func.id, tuple(map(setting, node.args)), kwargs, None, AT)


def setting(node: ast.expr):
    if isinstance(node, ast.List):
        return tuple(map(setting, node.elts))
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, **TABLES}.get(node.id, node.id)
    return ast.literal_eval(node)


def net_of(args: str, trunk: str, heads: str, name: str = "net") -> Net:
    stages = tuple(stage(text) for text in trunk.split("|")) if trunk else ()
    return Net(name, tuple((a, ARGUMENTS[a]) for a in args.split()), tuple(HEADS[heads].items()), stages, None, AT)


def model_of(
    *nets: Net, lets: tuple[Let, ...] = (), variables: tuple[Variable, ...] = (), plates: tuple[Plate, ...] = ()
) -> Model:
    sizes = tuple(Size(name, None, AT) for name in SIZES if name not in "VU")
    vocabs = (Vocab("V", (), AT), Vocab("U", (), AT))
    return Model("Test", Source("t", ""), sizes, vocabs, plates, (), nets, variables, lets, (), (), (), (), ())


def code_of(net: Net, mode: str, model: Model | None = None) -> NetCode:
    return emit_net(net, model or model_of(net), {"whole", "prefix"} if mode == "both" else {mode})


def execute(code: NetCode) -> type[torch.nn.Module]:
    """The class of an emitted net, run as a file of its own."""
    files: dict[str, list[str]] = {}
    for module, name in with_borrowed(code.kernels):
        files.setdefault(module, []).append(name)
    head = "import torch\nfrom torch import Tensor, nn\nfrom torch.nn import functional as F\n"
    text = "\n\n".join([head, *code.imports, *(kernel_source(m, names) for m, names in files.items()), code.text])
    space: dict[str, object] = {}
    exec(compile(text, code.class_name, "exec"), space)
    return space[code.class_name]  # type: ignore[return-value]


def build(net: Net, mode: str, model: Model | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    code = code_of(net, mode, model)
    tables = {name: torch.nn.Embedding(SIZES[str(TABLES[name].rows)], 5).double() for name in code.tables}
    module = execute(code)(**{size: SIZES[size] for size in code.sizes}, **tables).double().eval()
    if hasattr(module, "start"):
        torch.nn.init.normal_(module.start)  # type: ignore[arg-type]
    return module


def inputs(net: Net, lead: tuple[int, ...], length: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """Random arguments by name; the memory is a step longer."""
    torch.manual_seed(seed)
    found = {}
    for name, type in net.args:
        time = (length + (name in MEMORIES),) if type.star else ()
        shape = (*lead, *time, *(SIZES.get(str(d), d) for d in type.shape))
        if type.card is not None:
            found[name] = torch.randint(SIZES[str(type.card)], shape)  # type: ignore[arg-type]
        else:
            found[name] = torch.randn(shape, dtype=torch.float64)  # type: ignore[arg-type]
    return found


def outputs(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def stars(net: Net) -> list[str]:
    return [name for name, type in net.args if type.star]


def close(got: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> None:
    for g, e in zip(outputs(got), outputs(expected), strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-12)


# ---- shapes and batches


@pytest.mark.parametrize(("args", "trunk", "heads"), VECTORS)
def test_vectors_have_the_heads_shapes_and_rows_are_independent(args, trunk, heads):
    net = net_of(args, trunk, heads)
    module, x = build(net, "whole"), inputs(net, (2, 3))
    got = outputs(module(*x.values()))
    assert [tuple(g.shape) for g in got] == [(2, 3, *event) for event in EVENT[heads]]
    close(tuple(g[1, 2] for g in got), module(*(v[1, 2] for v in x.values())))


@pytest.mark.parametrize(("args", "trunk", "heads", "mode"), EACH)
def test_sequences_have_the_heads_shapes_and_rows_are_independent(args, trunk, heads, mode):
    net = net_of(args, trunk, heads)
    module, x = build(net, mode), inputs(net, (2, 3))
    calls = [m for m in ("whole", "prefix") if mode in (m, "both")]
    for call in calls:
        method = module if call == "whole" else module.prefixes
        got = outputs(method(*x.values()))
        time = (4,) if call == "prefix" or heads == "starred" else ()
        assert [tuple(g.shape) for g in got] == [(2, 3, *time, *event) for event in EVENT[heads]]
        close(tuple(g[1, 2] for g in got), method(*(v[1, 2] for v in x.values())))


@pytest.mark.parametrize(("args", "trunk", "heads", "mode"), [c for c in EACH if "z" in c[0].split()])
def test_leading_axes_broadcast(args, trunk, heads, mode):
    """z (S, 1, Z) beside words (B, T), as for S samples of z."""
    net = net_of(args, trunk, heads)
    module, x = build(net, mode), inputs(net, (3,))
    z = torch.randn(2, 1, 2, dtype=torch.float64)
    method = module.prefixes if mode == "prefix" else module
    got = outputs(method(*(x | {"z": z}).values()))
    full = {k: v.expand(2, *v.shape) for k, v in x.items()} | {"z": z.expand(2, 3, 2)}
    close(got, method(*full.values()))


# ---- masks


@pytest.mark.parametrize(("args", "trunk", "heads"), SEQUENCES + WHOLE)
@pytest.mark.parametrize("length", [0, 1, 3])
def test_padding_changes_nothing(args, trunk, heads, length):
    net = net_of(args, trunk, heads)
    module, x, y = build(net, "whole"), inputs(net, (2, 3)), inputs(net, (2, 3), seed=1)
    inside = {name: torch.arange(x[name].shape[2]) < length for name in stars(net)}
    padded = {}
    for name in x:
        keep = inside[name].view(1, 1, -1, *[1] * (x[name].dim() - 3)) if name in inside else torch.tensor(True)
        padded[name] = x[name].where(keep, y[name])
    masks = {f"{name}_mask": mask.expand(2, 3, -1) for name, mask in inside.items()}
    got, other = outputs(module(*x.values(), **masks)), outputs(module(*padded.values(), **masks))
    if heads == "starred":
        got, other = tuple(g[:, :, :length] for g in got), tuple(o[:, :, :length] for o in other)
    close(got, other)
    assert all(g.isfinite().all() for g in got)
    if length:
        short = outputs(module(*(v[:, :, :length] if k in inside else v for k, v in x.items())))
        close(got, short)


@pytest.mark.parametrize(("args", "trunk", "heads"), SEQUENCES + WHOLE)
def test_a_batch_of_empty_sequences_is_a_batch(args, trunk, heads):
    net = net_of(args, trunk, heads)
    module, x = build(net, "whole"), inputs(net, (2,), 0)
    time = (0,) if heads == "starred" else ()
    assert [g.shape for g in outputs(module(*x.values()))] == [(2, *time, *event) for event in EVENT[heads]]


def test_arguments_hide_no_kernel_and_no_mask():
    """`net f(last: token*, last_mask: real)`."""
    args = (("last", ARGUMENTS["words"]), ("last_mask", ARGUMENTS["s"]))
    net = Net("net", args, tuple(HEADS["simplex"].items()), (stage("embed(3)"), stage("lstm(4)")), None, AT)
    module = build(net, "whole")
    words, mask = torch.randint(7, (2, 3)), torch.tensor([[True, True, False]] * 2)
    close(module(words, torch.ones(2).double(), last_mask=mask), module(words[:, :2], torch.ones(2).double()))


def test_an_empty_sequence_pools_to_zeros():
    for pool in ("mean", "bow", "attend"):
        net = net_of("words", f"embed(4) | {pool}", "simplex")
        module = build(net, "whole")
        mask = torch.zeros(2, 4, dtype=torch.bool)
        assert (module.features(torch.zeros(2, 4, dtype=torch.long), words_mask=mask) == 0).all()


def with_where(net: Net) -> Model:
    """A model that calls the net of one sequence with `w[*] where f[*]`."""
    sequence = net.args[0][1]
    where = Where(AT, sequence, All(AT, sequence, "w", "i"), Ref(AT, Type("bit"), "f"))
    call = NetCall(AT, net.heads[0][1], net.name, (where,), "")
    return model_of(net, lets=(Let("h", call.type, (), call, AT),))


ORDERED = ["lstm(4, embed=3)", "transformer(4, heads=2)", "embed(4) | cnn([5])", "gru(4, embed=3, bidirectional=true)"]
POOLED = ["embed(3) | mean | mlp([4])", "bow", "embed(3) | attend", "embed(3) | mlp([4])"]


@pytest.mark.parametrize("trunk", ORDERED + POOLED)
def test_elements_left_out_by_where_are_as_if_never_there(trunk):
    """A mask with holes, of more leading axes than the words."""
    net = net_of("words", trunk, "simplex")
    module = build(net, "whole", with_where(net))
    x = inputs(net, (2,), 5)["words"]
    holes = torch.tensor([[True, False, True, True, False], [False, True, False, False, True], [False] * 5])[:, None].expand(
        3, 2, 5
    )
    got = module(x, words_mask=holes)
    assert got.shape == (3, 2, 4)
    for i in range(3):
        if holes[i].any():
            close(got[i], module(x[:, holes[i, 0]]))


def test_numbers_left_out_by_where_are_as_if_never_there():
    net = net_of("levels", "gru(4)", "simplex")
    module, x = build(net, "whole", with_where(net)), inputs(net, (2,), 4)["levels"]
    holes = torch.tensor([[True, False, True, False]]).expand(2, 4)
    close(module(x, levels_mask=holes), module(x[:, ::2]))


# ---- prefixes


@pytest.mark.parametrize(("args", "trunk", "heads"), SEQUENCES)
def test_no_prefix_reads_ahead_and_all_read_what_is_behind(args, trunk, heads):
    net = net_of(args, trunk, heads)
    module, x = build(net, "prefix"), inputs(net, (3,), 5)
    name = stars(net)[0]
    before = outputs(module.prefixes(*x.values()))
    for i in range(5):
        changed = x[name].clone()
        changed[:, i] = (changed[:, i] + 1) % 7 if not changed.is_floating_point() else changed[:, i] + 1
        after = outputs(module.prefixes(*(x | {name: changed}).values()))
        for b, a in zip(before, after, strict=True):
            assert torch.equal(b[:, : i + 1], a[:, : i + 1])
            if i < 4:
                assert (b[:, i + 1] != a[:, i + 1]).any(), "the next element does not read this one"


@pytest.mark.parametrize(("args", "trunk", "heads"), SEQUENCES)
def test_a_prefix_gives_what_the_whole_net_gives_for_it(args, trunk, heads):
    net = net_of(args, trunk, heads)
    module, x = build(net, "both"), inputs(net, (3,), 5)
    got = outputs(module.prefixes(*x.values()))
    for i in range(5):
        cut = {k: v[:, :i] if k in stars(net) and k not in MEMORIES else v for k, v in x.items()}
        close(tuple(g[:, i] for g in got), module(*cut.values()))
        masks = {f"{k}_mask": (torch.arange(5) < i).expand(3, 5) for k in stars(net) if k not in MEMORIES}
        close(tuple(g[:, i] for g in got), module(*x.values(), **masks))


def test_arguments_that_vary_along_the_prefix_are_read_at_their_own_element():
    """`lm(z, x[<i])` with z inside plate i: z is (*B, T, Z)."""
    net = net_of("words z", "lstm(6, embed=5) | mlp([4])", "simplex")
    plates = (
        Plate("n", "plate", None, (), True, False, "n_len", AT),
        Plate("i", "chain", None, ("n",), False, True, "x_len", AT),
    )
    variables = (
        Variable("x", "observed", Type("token", card="V"), ("n", "i"), None, AT),
        Variable("c", "given", Type("real", ("Z",)), ("n", "i"), None, AT),
    )
    arguments = (Prefix(AT, ARGUMENTS["words"], "x", "i"), Ref(AT, ARGUMENTS["z"], "c"))
    call = NetCall(AT, Type("simplex", ("K",)), "net", arguments, "")
    model = model_of(net, lets=(Let("h", call.type, ("n", "i"), call, AT),), variables=variables, plates=plates)
    module, x = build(net, "prefix", model), inputs(net, (3,), 4)["words"]
    z = torch.randn(3, 4, 2, dtype=torch.float64)
    got = module.prefixes(x, z)
    changed = z.clone()
    changed[:, 2] += 1
    other = module.prefixes(x, changed)
    assert got.shape == (3, 4, 4)
    assert torch.equal(got[:, :2], other[:, :2])
    assert (got[:, 2] != other[:, 2]).any()


# ---- gradients, compilation, text


@pytest.mark.parametrize(
    ("args", "trunk", "heads", "mode"),
    [(*c, "whole") for c in VECTORS] + [(*c, "prefix") for c in SEQUENCES] + [(*c, "whole") for c in WHOLE],
)
def test_gradients_match_finite_differences(args, trunk, heads, mode):
    """Along one random direction in the parameters."""
    net = net_of(args, trunk, heads)
    module, x = build(net, mode), inputs(net, (2,), 3)
    method = module.prefixes if mode == "prefix" else module
    parameters = list(module.parameters())
    torch.manual_seed(1)
    direction = [torch.randn_like(p) for p in parameters]

    def value() -> Tensor:
        return torch.stack([output.sin().sum() for output in outputs(method(*x.values()))]).sum()

    def moved(step: float) -> Tensor:
        for p, d in zip(parameters, direction, strict=True):
            p.add_(d, alpha=step)
        return value()

    gradient = torch.autograd.grad(value(), parameters)
    slope = torch.stack([(g * d).sum() for g, d in zip(gradient, direction, strict=True)]).sum()
    with torch.no_grad():
        ahead, behind = moved(1e-6), moved(-2e-6)
    torch.testing.assert_close(slope, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-6)


class Method(torch.nn.Module):
    """One method of a module as a module."""

    def __init__(self, module: torch.nn.Module, method: str):
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *args):
        return getattr(self.module, self.method)(*args)


@pytest.mark.parametrize(
    ("args", "trunk", "mode"),
    [
        ("words z", "lstm(6, embed=5, init=z)", "prefix"),
        ("words", "gru(6, embed=5, bidirectional=true) | mean", "whole"),
        ("words z", "transformer(8, heads=2)", "prefix"),
    ],
)
def test_compiles_as_one_graph(args, trunk, mode):
    net = net_of(args, trunk, "simplex")
    module, x = build(net, mode), inputs(net, (2,), 3)
    call: Callable = Method(module, "prefixes" if mode == "prefix" else "forward")
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    expected, got = call(*x.values()), compiled(*x.values())
    close(got, expected)
    parameters = list(module.parameters())
    close(torch.autograd.grad(got.sum(), parameters), torch.autograd.grad(expected.sum(), parameters))


@pytest.mark.parametrize(("args", "trunk", "heads", "mode"), [(*c, "whole") for c in VECTORS] + EACH)
def test_text_is_reproducible_and_has_no_stray_names(args, trunk, heads, mode):
    net = net_of(args, trunk, heads)
    code = code_of(net, mode)
    assert code == code_of(net, mode)
    assert "__" not in code.text.replace("__init__", "")
    assert all(len(line) <= 128 for line in code.text.splitlines())
    assert eval(code.madds, {**SIZES, "T": 4, "S": 5}) > 0


def test_emission_imports_no_torch():
    modules = "vispec.torch.nets.classes, vispec.trunk, vispec.catalog as c"
    program = f"import sys, {modules}; c.networks(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_lexicon_reads_as_written_by_hand():
    args = (("y", Type("token", card="V")),)
    net = Net("lex", args, (("", Type("simplex", ("K",))),), (stage("embed(8)"), stage("mlp([6])")), None, AT)
    assert code_of(net, "whole").text.split("\n\n", 1)[1] == LEX


def test_weights_can_be_given_from_outside():
    """As a prior over weights does, by torch.func.functional_call."""
    net = net_of("words", "lstm(6, embed=5)", "simplex")
    module, x = build(net, "whole"), inputs(net, (2,))
    halved = {name: p / 2 for name, p in module.named_parameters()}
    got = torch.func.functional_call(module, halved, tuple(x.values()))
    with torch.no_grad():
        for p in module.parameters():
            p.div_(2)
    close(got, module(*x.values()))  # type: ignore[arg-type]


def test_a_long_sum_over_lines_is_one_value():
    terms = [f"self.from_argument_{n}(argument_{n}.unsqueeze(-1))" for n in range(3)]
    lines = assignment("h", f"({' + '.join(terms)})", "  # (*B, 3)")
    assert lines == ["h = (", f"    {terms[0]}", *(f"    + {term}" for term in terms[1:]), ")  # (*B, 3)"]


def test_class_names_avoid_the_model_and_each_other():
    twins = [net_of("x", "mlp([2])", "simplex", name) for name in ("a_b", "aB", "test", "f", "transformer")]
    names = [code_of(net, "whole", model_of(*twins)).class_name for net in twins]
    assert names == ["AB", "ABNet", "TestNet", "FNet", "TransformerNet"]


@pytest.mark.parametrize(
    ("args", "trunk", "heads", "words"),
    [
        ("x", "embed(4)", "simplex", "nothing to embed"),
        ("words", "mean | lstm(4)", "simplex", "needs a sequence"),
        ("words", "mean", "starred", "ends in one vector"),
        ("words", 'mean | python("a:B", features=3)', "simplex", "must come first"),
        ("words", "transformer(10, heads=4)", "simplex", "does not divide"),
        ("x", "cnn([4])", "simplex", "an image or a sequence"),
        ("words", "lstm(4)", "uneven", "some are not"),
        ("x", 'python("a module", features=3)', "simplex", "not of the form"),
        ("where", "mlp([4])", "simplex", "unknown size"),
    ],
)
def test_trunk_problems_are_found(args, trunk, heads, words):
    (problem,) = trunk_problems(net_of(args, trunk, heads))
    assert words in problem.message


@pytest.mark.parametrize(("args", "trunk", "heads"), VECTORS + SEQUENCES + WHOLE)
def test_sound_trunks_have_no_problems(args, trunk, heads):
    assert not list(trunk_problems(net_of(args, trunk, heads)))


def test_layers_that_read_ahead_are_named():
    assert noncausal_stage(net_of("words", "lstm(4)", "simplex")) is None
    found = noncausal_stage(net_of("words", "embed(3) | lstm(4) | gru(4, bidirectional=true)", "simplex"))
    assert found is not None
    assert found.layer == "gru"


def test_every_layer_is_tested():
    tested = {stage(text).layer for _, trunk, _ in VECTORS + SEQUENCES + WHOLE if trunk for text in trunk.split("|")}
    assert tested == set(networks()) - {"python"}


class Mine(torch.nn.Module):
    """A user's module."""

    def __init__(self, features: int, scale: float):
        super().__init__()
        self.features, self.scale = features, scale

    def forward(self, x: Tensor, words: Tensor, words_mask: Tensor | None = None) -> Tensor:
        assert words_mask is not None
        return (x.sum(-1) + words_mask.sum(-1))[..., None].expand(*x.shape[:-1], self.features) * self.scale


def test_the_users_own_module_is_the_trunk(monkeypatch):
    monkeypatch.setitem(sys.modules, "mine", sys.modules[__name__])
    net = net_of("x words", 'python("mine:Mine", features=3, scale=2.0)', "simplex")
    module, x = build(net, "whole"), inputs(net, (2,))
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    got = module.features(*x.values(), words_mask=mask)  # type: ignore[operator]
    close(got, (x["x"].sum(-1) + torch.tensor([4, 1]))[:, None].expand(2, 3) * 2)


def test_sizes_as_text():
    assert plus(2, "Z", 3, "Z") == "2 * Z + 5"
    assert times(2, "Z + 1", 3) == "6 * (Z + 1)"
    assert (ceiling(7, 2), ceiling("H", 4), ceiling("H", 1)) == (4, "-(-H // 4)", "H")
    assert (unwrapped("(a + b)"), unwrapped("(a) + (b)"), unwrapped("f(a)")) == ("a + b", "(a) + (b)", "f(a)")


LEX = '''\
    def __init__(self, K: int, V: int):
        super().__init__()
        self.embed = nn.Embedding(V, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 6), nn.ReLU())
        self.out = nn.Linear(6, K)

    def features(self, y: Tensor) -> Tensor:
        """y (*B) → (*B, 6)."""
        return self.mlp(self.embed(y))

    def forward(self, y: Tensor) -> Tensor:
        """(*B, K) unnormalised log-probabilities."""
        return self.out(self.features(y))
'''
