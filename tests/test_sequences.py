"""Sequences that end by a symbol of their own: drawn, by greedy choice and by beams, against sums over all of them."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from vispec.compile import compile_spec
from vispec.source import Source

END, LONGEST = 0, 4
HEAD = "vocab V(end=true)\n"
PLAIN = """
net lm(prefix: token[V]*) -> simplex[V] = {trunk}
plate n:
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i]))
"""
GIVEN = """
size D = 2
net lm(z: real[D], prefix: token[V]*) -> simplex[V] = {trunk}
plate n:
    given z : real[D]
    chain i:
        observed x : token[V] ~ Categorical(lm(z, x[<i]))
"""
TRUNKS = {
    "lstm": "lstm(embed=4, hidden=5, layers=2) |> dropout(0.3)",
    "gru": "gru(embed=4, hidden=5) |> layernorm",
    "transformer": "transformer(embed=8, heads=2, layers=2)",
    "cnn": "embed(4) |> cnn([5, 4], kernel=2)",
    "mean": "embed(4) |> mean |> mlp([5])",
    "bow": "embed(4) |> bow |> residual",
    "attend": "embed(4) |> attend",
    "attended states": "lstm(embed=4, hidden=5) |> attend |> mlp([4])",
    "counts": "bow |> mlp([4])",
}
SPECS = {name: HEAD + PLAIN.format(trunk=trunk) for name, trunk in TRUNKS.items()}
SPECS |= {
    f"{name}, given": HEAD + GIVEN.format(trunk=TRUNKS[name])
    for name in ("gru", "transformer", "cnn", "mean", "attended states")
}
SPECS["init"] = HEAD + GIVEN.format(trunk="lstm(embed=4, hidden=5, init=z)")
SPECS["source"] = (
    HEAD
    + """
vocab W
net lm(prefix: token[V]*, source: token[W]*) -> simplex[V] = lstm(embed=4, hidden=5) |> attend |> mlp([4])
plate n:
    plate j:
        given y : token[W]
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i], y[*]))
"""
)
SPECS["vectors"] = (
    HEAD
    + """
vocab W
net encode(source: token[W]*) -> real[3]* = embed(4) |> gru(hidden=3, bidirectional)
net lm(prefix: token[V]*, memory: real[3]*) -> simplex[V] = embed(4) |> gru(hidden=5) |> attend |> gru(hidden=4)
plate n:
    plate j:
        given y : token[W]
    let h = encode(y[*])
    chain i:
        observed x : token[V] ~ Categorical(lm(x[<i], h))
"""
)
SPECS["vectors, transformer"] = (
    SPECS["vectors"]
    .replace("embed(4) |> gru(hidden=3, bidirectional)", "embed(4) |> transformer(4, heads=2)")
    .replace("gru(hidden=5) |> attend |> gru(hidden=4)", "transformer(8, heads=2, dropout=0.3, attend)")
)
SPECS["source, transformer"] = SPECS["source"].replace(
    "lstm(embed=4, hidden=5) |> attend", "embed(4) |> gru(hidden=4) |> transformer(8, heads=2, layers=1, attend) |> attend"
)
SPECS["two nets"] = (
    HEAD
    + """
net a(prefix: token[V]*) -> simplex[V] = lstm(embed=4, hidden=5)
net b(prefix: token[V]*) -> simplex[V] = gru(embed=4, hidden=5)
plate n:
    given w : unit
    chain i:
        observed x : token[V] ~ Categorical(w * a(x[<i]) + (1 - w) * b(x[<i]))
"""
)
SPECS["called twice"] = (
    HEAD
    + """
net lm(z: real, prefix: token[V]*) -> simplex[V] = lstm(embed=4, hidden=5, init=z)
plate n:
    given w : unit
    chain i:
        observed x : token[V] ~ Categorical(w * lm(1, x[<i]) + (1 - w) * lm(-1, x[<i]))
"""
)
SPECS["position"] = (
    HEAD
    + """
net lm(at: real, prefix: token[V]*) -> simplex[V] = lstm(embed=4, hidden=5) |> mlp([4])
plate n:
    chain i:
        observed x : token[V] ~ Categorical(lm(i, x[<i]))
"""
)
SPECS["position behind"] = SPECS["position"].replace("lstm(embed=4, hidden=5)", "embed(4) |> mean")
SPECS["bigram"] = (
    HEAD
    + """
param first : simplex[V]
plate v[V]:
    param after : simplex[V]
plate n:
    chain i:
        observed x : token[V] ~ Categorical(first) then Categorical(after[x[i-1]])
"""
)
SPECS["let"] = (
    HEAD
    + """
net past(prefix: token[V]*) -> real[3] = gru(embed=4, hidden=5)
net start(h: real[3]) -> simplex[V] = mlp([4])
net say(h: real[3], before: token[V]) -> simplex[V] = embed(3) |> mlp([4])
plate n:
    chain i:
        let h = past(x[<i])
        observed x : token[V] ~ Categorical(start(h)) then Categorical(say(h, x[i-1]))
"""
)
V = 3


def module_of(name: str, seed: int = 1) -> torch.nn.Module:
    space: dict = {}
    exec(compile_spec(Source("m.vispec", SPECS[name]), {}), space)
    torch.manual_seed(seed)
    sizes = {"V": V, "W": 4} if "vocab W" in SPECS[name] else {"V": V}
    module = space["M"](**sizes).double().eval()
    for value in module.parameters():
        value.data.normal_()
    return module


def given(name: str, rows: int) -> dict[str, Tensor]:
    """What the model is given, of so many rows."""
    torch.manual_seed(2)
    if "given z" in SPECS[name]:
        return {"z": torch.randn(rows, 2).double()}
    if "given w" in SPECS[name]:
        return {"w": torch.rand(rows).double()}
    if "given y" in SPECS[name]:
        return {"y": torch.randint(0, 4, (rows, 5)), "y_len": torch.arange(rows) % 4 + 1}
    return {}


def every(longest: int, ended: bool = True) -> list[tuple[int, ...]]:
    """All sequences of so many elements at most, with their ends; or those of that length without one."""
    words = [symbol for symbol in range(V) if symbol != END]
    if not ended:
        return list(itertools.product(words, repeat=longest))
    return [(*beginning, END) for size in range(longest) for beginning in itertools.product(words, repeat=size)]


def log_probs(module: torch.nn.Module, batch: dict[str, Tensor], found: list[tuple[int, ...]]) -> Tensor:
    """log p of each sequence (n, S), by the module's own log_prob."""
    rows = len(next(iter(batch.values()))) if batch else 1
    width = max(map(len, found))
    x = torch.tensor([[*each, *[0] * (width - len(each))] for each in found])
    lengths = torch.tensor([len(each) for each in found])
    more = {name: value.repeat_interleave(len(found), 0) for name, value in batch.items()}
    with torch.no_grad():
        return module.log_prob({**more, "x": x.repeat(rows, 1), "x_len": lengths.repeat(rows)}).view(rows, -1)


def listed(found: dict[str, Tensor], row: int) -> list[tuple[int, ...]]:
    return [tuple(x[:n].tolist()) for x, n in zip(found["tokens"][row], found["lengths"][row], strict=True)]


@pytest.mark.parametrize("name", SPECS)
def test_draws_have_the_probability_that_they_are_told_to_have(name: str) -> None:
    """Step by step as in one go: also where rows leave the batch early, and the longest differ from row to row."""
    module, batch = module_of(name), given(name, 6)
    longest = torch.arange(6) % 3 + LONGEST
    found = module.sequences(batch, 6, END, longest, rule="sample", samples=7)
    assert found["tokens"].shape == (6, 7, int(longest.max()))
    for row in range(6):
        own = {key: value[row : row + 1] for key, value in batch.items()}
        sequences = listed(found, row)
        assert all(end_of(each, int(longest[row])) for each in sequences)
        torch.testing.assert_close(found["log_prob"][row], log_probs(module, own, sequences)[0], rtol=0, atol=1e-10)


def end_of(found: tuple[int, ...], longest: int) -> bool:
    """Whether it ends with its only end, or was given up at its longest."""
    return END not in found[:-1] and (found[-1] == END or len(found) == longest)


def searched(
    module: torch.nn.Module, own: dict[str, Tensor], width: int, penalty: float, longest: int
) -> list[tuple[int, ...]]:
    """Plain beam search by log_prob of whole sequences: those that end among the likeliest of their length, best first."""
    alive, done = [()], {}
    for size in range(1, longest + 1):
        grown = [(*each, symbol) for each in alive for symbol in range(V)]
        value = dict(zip(grown, log_probs(module, own, grown)[0].tolist(), strict=True))
        grown.sort(key=lambda each: -value[each])
        done |= {each: value[each] / size**penalty for each in grown[:width] if each[-1] == END}
        alive = [each for each in grown if each[-1] != END][:width]
    return sorted(done, key=lambda each: -done[each])[:width]


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", SPECS)
def test_beams_of_every_width_are_those_of_a_plain_search(name: str, penalty: float) -> None:
    """And the best of all, where all fit in."""
    module, batch = module_of(name), given(name, 3)
    own = [{key: value[row : row + 1] for key, value in batch.items()} for row in range(3)]
    for width in (1, 2, 3, 5, 8, 24):
        found = module.sequences(batch, 3, END, LONGEST, rule="beam", width=width, length_penalty=penalty)
        for row in range(3):
            expected = searched(module, own[row], width, penalty, LONGEST)
            got = listed(found, row)[: len(expected)]
            assert got == expected, (width, row)
            if not expected:  # all were given up before their end
                assert len(listed(found, row)[0]) == LONGEST
                continue
            told = log_probs(module, own[row], got)[0]
            torch.testing.assert_close(found["log_prob"][row, : len(got)], told, rtol=0, atol=1e-10)
    everything = every(LONGEST)
    values = log_probs(module, own[0], everything)[0]
    best = max(range(len(everything)), key=lambda at: values[at] / len(everything[at]) ** penalty)
    assert listed(found, 0)[0] == everything[best]


@pytest.mark.parametrize("name", SPECS)
def test_the_greedy_choice_is_the_likeliest_element_each_time(name: str) -> None:
    module, batch = module_of(name), given(name, 3)
    found = module.sequences(batch, 3, END, LONGEST)
    for row in range(3):
        own, expected = {key: value[row : row + 1] for key, value in batch.items()}, ()
        while len(expected) < LONGEST and END not in expected:
            grown = [(*expected, symbol) for symbol in range(V)]
            expected = grown[int(log_probs(module, own, grown)[0].argmax())]
        assert listed(found, row) == [expected]


@pytest.mark.parametrize("name", SPECS)
def test_a_beam_of_one_is_the_greedy_choice(name: str) -> None:
    module, batch = module_of(name), given(name, 5)
    greedy, beam = (module.sequences(batch, 5, END, LONGEST, **how) for how in ({}, {"rule": "beam", "width": 1}))
    for row in range(5):
        assert listed(beam, row) == listed(greedy, row)


@pytest.mark.parametrize("name", ["lstm", "transformer", "bigram", "source", "called twice"])
def test_draws_follow_the_model(name: str) -> None:
    """χ² of 20,000 draws against the exact probabilities of all sequences, those that were given up too."""
    module, batch, count = module_of(name), given(name, 1), 20_000
    found = module.sequences(batch, 1, END, LONGEST, rule="sample", samples=count)
    everything = [*every(LONGEST), *every(LONGEST, ended=False)]
    expected = log_probs(module, batch, everything)[0].exp()
    assert expected.sum() == pytest.approx(1)
    drawn = listed(found, 0)
    seen = torch.tensor([drawn.count(each) for each in everything])
    often = expected * count > 5
    rare = 1 - expected[often].sum()
    chi = (((seen - count * expected).square() / (count * expected))[often]).sum().item()
    chi += (seen[~often].sum().item() - count * rare).square() / (count * rare) if rare * count > 5 else 0
    degrees = int(often.sum())
    assert chi < degrees + 5 * math.sqrt(2 * degrees)


def test_cut_draws_come_from_what_is_left() -> None:
    module, count = module_of("bigram"), 4000
    p = log_probs(module, {}, [(END,), (1,), (2,)])[0].exp()
    best, second, _ = p.argsort(descending=True).tolist()

    def first(**how: float) -> Tensor:
        tokens = module.sequences({}, 1, END, LONGEST, rule="sample", samples=count, **how)["tokens"][0, :, 0]
        return torch.bincount(tokens, minlength=3) / count

    assert first(top_k=1)[best] == 1
    assert first(top_p=float(p[best]) - 1e-9)[best] == 1
    two = p[[best, second]] / p[[best, second]].sum()
    torch.testing.assert_close(first(top_k=2).double()[[best, second]], two, rtol=0, atol=0.04)
    torch.testing.assert_close(first(top_p=float(p[best]) + 1e-9).double()[[best, second]], two, rtol=0, atol=0.04)
    torch.testing.assert_close(first(temperature=2.0).double(), p.sqrt() / p.sqrt().sum(), rtol=0, atol=0.04)


@pytest.mark.parametrize("name", SPECS)
def test_elements_of_given_lengths_are_those_of_whole_prefixes(name: str) -> None:
    """`generate`, whose nets keep what they have read too, goes on behind an end."""
    module, batch = module_of(name), given(name, 3)
    x = module.generate(3, batch, {"i": torch.tensor([LONGEST] * 3)}, "mode")["x"]
    for row in range(3):
        own, expected = {key: value[row : row + 1] for key, value in batch.items()}, ()
        while len(expected) < LONGEST:
            grown = [(*expected, symbol) for symbol in range(V)]
            expected = grown[int(log_probs(module, own, grown)[0].argmax())]
        assert tuple(x[row].tolist()) == expected


NUMBERS = """
net f(before: real[2]*, z: real) -> real[2] = {trunk}
plate n:
    latent z : real ~ Normal(0, 1)
    plate k[2]:
        chain t:
            observed x : real[2] ~ Normal(f(x[<t], z), 1)
guide:
    z ~ Normal(0, 1)
"""


@pytest.mark.parametrize("trunk", ["gru(hidden=4)", "cnn([4], kernel=3)", "mean |> mlp([4])", "lstm(hidden=4, init=z)"])
def test_numbers_in_plates_within_rows(trunk: str) -> None:
    space: dict = {}
    exec(compile_spec(Source("m.vispec", NUMBERS.format(trunk=trunk)), {}), space)
    module = space["M"]().double().eval()
    found = module.generate(3, {}, {"t": torch.full((3, 2), 5)}, "mean")
    z = found["z"][:, None].expand(3, 2)
    expected = module.f.prefixes(found["x"], z)
    torch.testing.assert_close(found["x"], expected.detach(), rtol=0, atol=1e-10)


ATTENDED = (
    HEAD
    + """
vocab W
net state(prefix: token[V]*) -> real[3] = lstm(embed=4, hidden=4)
net key(w: token[W]) -> real[3] = embed(3)
net word(s: real[3], w: token[W]) -> simplex[V] = embed(3) |> mlp([4])
plate n:
    plate j:
        given y : token[W]
    chain i:
        let s = state(x[<i])
        latent a : index[j] ~ Categorical(softmax(dot(s, key(y)[j]) for j))
        observed x : token[V] ~ Categorical(word(s, y[a]))
"""
)


def test_a_latent_of_the_chain_is_drawn_with_it() -> None:
    """So there is no law of the next element alone, and `generate` draws both."""
    spec = ATTENDED.replace("key(y)[j]", "k[j]").replace("given y : token[W]", "given y : token[W]\n        let k = key(y)")
    text = compile_spec(Source("m.vispec", spec), {})
    assert "def sequences" not in text
    assert ".next(kept" in text


def test_a_memory_of_vectors_is_read_as_it_is() -> None:
    """One of tokens goes through copies of the layers before."""
    assert "gru_memory_" not in compile_spec(Source("m.vispec", SPECS["vectors"]), {})
    bits = (
        SPECS["vectors"]
        .replace("memory: real[3]*", "memory: bit[3]*")
        .replace("net encode(source: token[W]*) -> real[3]* = embed(4) |> gru(hidden=3, bidirectional)\n", "")
    )
    bits = bits.replace("given y : token[W]\n    let h = encode(y[*])", "given h : bit[3]").replace(
        "(x[<i], h)", "(x[<i], h[*])"
    )
    assert "gru_memory_" not in compile_spec(Source("m.vispec", bits), {})
    assert "lstm_source" in compile_spec(Source("m.vispec", SPECS["source"]), {})
