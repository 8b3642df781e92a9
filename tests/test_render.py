"""Drawings: laws of geometry over every spec and over random figures, and each format's own rules."""

import math
import re
import sys
import time
from functools import cache
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from graph_figures import random_figure, runs_under
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vispec.cli.commands.render import ENTRY
from vispec.graph.build import build_graph, crosses
from vispec.graph.drawing.dot import draw_dot
from vispec.graph.drawing.scene import make_scene
from vispec.graph.drawing.svg import draw_svg
from vispec.graph.drawing.things import Label, bounds, points
from vispec.graph.drawing.tikz import draw_tikz
from vispec.graph.layout.figure import Arrow, Figure, Frame, Mark, make_figure
from vispec.graph.layout.layout import Layout, Rectangle, lay_out
from vispec.graph.layout.measure import PAST_RADIUS, body, extent
from vispec.graph.layout.route import route
from vispec.graph.symbols import Text
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse

SPECS = sorted(Path(__file__).parents[1].joinpath("specs").glob("*.vispec"))
NAMES = [path.stem for path in SPECS]
CROWDED = ["annotators", "bnn", "hmm", "lda", "sentence_vae", "ss_vae"]


@cache
def drawn(name: str, everything: bool = False) -> Layout:
    """The layout of a spec, plain or with factors, guide and laws."""
    path = next(path for path in SPECS if path.stem == name)
    graph = build_graph(check_model(parse(Source.read(path))))
    return lay_out(make_figure(graph, factors=everything, guide=everything, laws=everything))


def box(layout: Layout, key: str) -> Rectangle:
    """The rectangle around a mark with its companions and label."""
    (x, y), side = layout.centres[key], extent(layout.mark[key])
    return Rectangle(x - side.left, y - side.up, x + side.right, y + side.down)


def apart(one: Rectangle, two: Rectangle) -> bool:
    return one.right <= two.left or two.right <= one.left or one.bottom <= two.top or two.bottom <= one.top


def within(inner: Rectangle, outer: Rectangle) -> bool:
    return outer.left <= inner.left and inner.right <= outer.right and outer.top <= inner.top and inner.bottom <= outer.bottom


def check_geometry(layout: Layout) -> None:
    """No marks overlap; a plate holds its members, and keeps clear of all else that it does not cross."""
    for one, two in combinations(layout.mark, 2):
        assert apart(box(layout, one), box(layout, two)), (one, two)
    framed = [frame for frame in layout.figure.frames if frame.name in layout.frames]
    for frame in framed:
        for key in layout.mark:
            place = within if key in frame.members else apart
            assert place(box(layout, key), layout.frames[frame.name]), (frame.name, key)
    for one, two in combinations(framed, 2):
        check_plates(layout.frames[one.name], layout.frames[two.name], set(one.members), set(two.members))


def check_plates(one: Rectangle, two: Rectangle, members: set[str], others: set[str]) -> None:
    if not members & others:
        assert apart(one, two)
    elif crosses(members, others):
        sides = [(one.left, two.left), (one.top, two.top), (one.right, two.right), (one.bottom, two.bottom)]
        assert all(abs(a - b) > 7.9 for a, b in sides)
    else:
        assert within(one, two) or within(two, one)


@pytest.mark.parametrize("name", NAMES)
def test_every_spec_keeps_the_laws_of_geometry(name: str):
    layout = drawn(name)
    assert layout.unframed == ()
    check_geometry(layout)


@pytest.mark.parametrize("name", CROWDED)
def test_factors_and_guide_keep_the_laws_of_geometry(name: str):
    layout = drawn(name, True)
    assert layout.unframed == ()
    check_geometry(layout)


@pytest.mark.parametrize("name", NAMES)
def test_arrows_meet_only_their_own_marks(name: str):
    layout = drawn(name)
    for arrow, curve in route(layout).items():
        for key, (x, y) in layout.centres.items():
            if key not in (arrow.tail, arrow.head):
                half = body(layout.mark[key]) if key in layout.mark else (PAST_RADIUS, PAST_RADIUS)
                assert not any(abs(px - x) < half[0] and abs(py - y) < half[1] for px, py in points(curve)), (arrow, key)


def test_no_arrow_runs_under_a_mark_of_a_random_figure():
    """Small figures by annealing, large ones in layers."""
    for seed, count in [(seed, 8) for seed in range(4)] + [(seed, 30) for seed in range(8)] + [(seed, 60) for seed in range(4)]:
        layout = lay_out(random_figure(seed, count))
        assert layout.unframed == ()
        check_geometry(layout)
        assert runs_under(layout) == [], (seed, count)


THROUGH = """\
size K = 3
size V
param root : simplex[K]
plate k[K]:
    param trans : simplex[K]
    param emit  : simplex[V]
plate row:
    latent z0 : index[k] ~ Categorical(root)
    latent z1 : index[k] ~ Categorical(trans[z0])
    latent z2 : index[k] ~ Categorical(trans[z0])
    latent z3 : index[k] ~ Categorical(trans[z1])
    latent z4 : index[k] ~ Categorical(trans[z1])
    latent z6 : index[k] ~ Categorical(trans[z2])
    partial x3 : category[V] ~ Categorical(emit[z3])
    partial x4 : category[V] ~ Categorical(emit[z4])
"""


def test_the_edges_of_a_tree_of_states_show_what_is_read():
    layout = lay_out(make_figure(build_graph(check_model(parse(Source("m.vispec", THROUGH))))))
    assert runs_under(layout) == []


def test_many_variables_are_drawn_in_time_that_grows_as_they_do():
    def seconds(count: int) -> float:
        marks = [Mark(f"m{k}", "param", Text(f"m{k}")) for k in range(count)]
        marks += [Mark(f"x{k}", "observed", Text(f"x{k}"), ("n",)) for k in range(count)]
        frame = Frame("n", tuple(f"x{k}" for k in range(count)), Text("n = 1..N"))
        arrows = tuple(Arrow(f"m{k}", f"x{k}") for k in range(count))
        begun = time.process_time()
        layout = lay_out(Figure("many", tuple(marks), arrows, (frame,)))
        draw_svg(make_scene(layout))
        taken = time.process_time() - begun
        assert all(abs(layout.centres[f"m{k}"][0] - layout.centres[f"x{k}"][0]) < 1 for k in range(count))
        return taken

    assert seconds(200) < 3.0


def test_an_arrow_ends_apart_from_where_another_begins():
    """Or the two look like one arrow with two heads."""
    layout = drawn("hmm2")
    curves = route(layout)
    for one in layout.figure.arrows:
        for two in layout.figure.arrows:
            if one.head == two.tail:
                assert math.dist(curves[one].stop, curves[two].origin) > 6, (one, two)


@pytest.mark.parametrize("name", NAMES)
def test_arrows_point_down_or_sideways(name: str):
    layout = drawn(name)
    for arrow in layout.figure.arrows:
        if "@" not in arrow.tail:  # the past stands beside its own variable
            assert layout.centres[arrow.tail][1] <= layout.centres[arrow.head][1]


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    """Up to nine marks in up to four nested plates, with arrows from earlier to later ones and now and then a past."""
    count = draw(st.integers(1, 9))
    members = [list(range(count))]
    for _ in range(draw(st.integers(0, 3))):
        outer = draw(st.sampled_from(members))
        inner = [k for k in outer if draw(st.booleans())]
        laminar = all(set(inner) <= set(other) or not set(inner) & set(other) for other in members if other is not outer)
        if inner and laminar and all(set(inner) <= set(other) for other in members if set(outer) <= set(other)):
            members.append(inner)
    looks = ("latent", "observed", "partial", "given", "deterministic", "param")
    marks = []
    for k in range(count):
        past = ((f"m{k}@1", Text("m", "t−1")),) if draw(st.integers(0, 4)) == 0 else ()
        plates = tuple(f"p{p}" for p, inside in enumerate(members) if k in inside)
        marks.append(Mark(f"m{k}", draw(st.sampled_from(looks)), Text("m" * draw(st.integers(1, 9))), plates, past))
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count) if draw(st.integers(0, 2)) == 0]
    arrows = [Arrow(f"m{a}", f"m{b}") for a, b in pairs] + [Arrow(key, mark.key) for mark in marks for key, _ in mark.past]
    frames = [Frame(f"p{p}", tuple(f"m{k}" for k in inside), Text(f"p{p} = 1..N")) for p, inside in enumerate(members)]
    return Figure("random", tuple(marks), tuple(arrows), tuple(frames))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(figures())
def test_random_nested_plates_are_always_drawn(figure: Figure):
    layout = lay_out(figure)
    assert layout.unframed == ()
    check_geometry(layout)


def plated(*plates: str) -> Figure:
    """Marks named by single letters, in plates that list them."""
    marks = [Mark(key, "latent", Text(key)) for key in sorted(set("".join(plates)))]
    frames = [Frame(f"p{k}", tuple(plate), Text(f"p{k} = 1..N")) for k, plate in enumerate(plates)]
    return Figure("plated", tuple(marks), (), tuple(frames))


@pytest.mark.parametrize(
    "plates", [("ab", "bc"), ("abc", "bcd", "cd"), ("ab", "bc", "ca"), ("abcd", "befc"), ("aceg", "bcfg", "defg")]
)
def test_crossing_plates_overlap_in_their_common_members(plates: tuple[str, ...]):
    layout = lay_out(plated(*plates))
    assert layout.unframed == ()
    check_geometry(layout)


def test_plates_that_no_rectangles_can_show_are_named_in_words():
    """Among five points some three are monotone, so the box around the outer two always holds the middle one."""
    figure = plated(*("".join(pair) for pair in combinations("abcde", 2)))
    layout = lay_out(figure)
    assert layout.unframed
    check_geometry(layout)
    words = [thing.text.plain for thing in make_scene(layout).things if isinstance(thing, Label)]
    for name in layout.unframed:
        frame = next(frame for frame in figure.frames if frame.name == name)
        assert f"{frame.label.plain}: {', '.join(frame.members)}" in words


# ---- SVG


@pytest.mark.parametrize("name", NAMES)
def test_svg_is_well_formed_and_shows_every_name(name: str):
    layout = drawn(name)
    root = ElementTree.fromstring(draw_svg(make_scene(layout)))
    shown = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    for mark in layout.figure.marks:
        assert mark.label.plain.replace("[", "").replace("]", "") in shown


@pytest.mark.parametrize("name", CROWDED)
def test_everything_lies_inside_the_picture(name: str):
    scene = make_scene(drawn(name, True))
    for thing in scene.things:
        assert within(Rectangle(*bounds(thing)), scene.view)


HOSTILE = Figure(
    "a<b>&\"'", (Mark("x", "latent", Text("<&>\"'_%$#{}\\^~\x07")),), (), (Frame("p&", ("x",), Text("]]> & <p>")),)
)


def test_svg_escapes_names():
    root = ElementTree.fromstring(draw_svg(make_scene(lay_out(HOSTILE))))
    assert root[0].text == HOSTILE.name
    assert {"<&>\"'_%$#{}\\^~", "]]> & <p>"} <= {"".join(node.itertext()) for node in root}


# ---- TikZ


def tikz_body(text: str) -> str:
    return text.split(r"\begin{tikzpicture}")[1].split(r"\end{tikzpicture}")[0]


@pytest.mark.parametrize("name", NAMES)
def test_tikz_refers_only_to_nodes_that_it_has_made(name: str):
    layout = drawn(name)
    text = draw_tikz(layout)
    assert text.count("{") == text.count("}")
    body_text = tikz_body(text)
    nodes = re.findall(r"^\\node\[.*?\] \(([\w-]+)\)", body_text, re.MULTILINE)
    assert len(nodes) == len(set(nodes)) == len(layout.centres) + 2 * len(layout.frames)
    ends = [
        end for pair in re.findall(r"^\\draw\[.*?\] \(([\w-]+)\) .*?\(([\w-]+)\);", body_text, re.MULTILINE) for end in pair
    ]
    assert len(ends) == 2 * len(layout.figure.arrows)
    fitted = [name for fit in re.findall(r"fit=\{(.*?)\}", body_text) for name in re.findall(r"\(([a-zA-Z][\w-]*)\)", fit)]
    assert set(ends) | set(fitted) <= set(nodes)
    assert body_text.count("fit=") == len(layout.frames)


def test_tikz_escapes_names():
    line = next(line for line in tikz_body(draw_tikz(lay_out(HOSTILE))).splitlines() if "(x)" in line)
    for escaped in (r"\_", r"\%", r"\$", r"\#", r"\{", r"\}", r"\&", r"\backslash"):
        assert escaped in line
    assert "\x07" not in line


# ---- DOT


def test_dot_nests_plates_and_names_the_crossing_one():
    source = draw_dot(drawn("annotators").figure)
    assert source.index("subgraph cluster_annotator") < source.index("subgraph cluster_k")
    assert "cluster_item" not in source
    assert source.count('xlabel="item = 1..N"') == 2


@pytest.mark.parametrize("name", NAMES)
def test_dot_has_every_arrow(name: str):
    figure = drawn(name).figure
    assert draw_dot(figure).count(" -> ") == len(figure.arrows)


# ---- the command


def render(*args: object):
    return CliRunner().invoke(ENTRY.command, [str(arg) for arg in args])


@pytest.mark.parametrize("kind", ["svg", "png", "pdf", "dot", "tex", "tikz"])
def test_drawing_twice_gives_the_same_bytes(kind: str, tmp_path: Path):
    spec = next(path for path in SPECS if path.stem == "annotators")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        result = render(spec, "-o", tmp_path / folder / f"x.{kind}", "--guide", "--laws")
        assert result.exit_code == 0, result.output
    one, two = ((tmp_path / folder / f"x.{kind}").read_bytes() for folder in ("one", "two"))
    assert one == two
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}.get(kind, b"\\documentclass")
    assert one.startswith(start)


def test_unknown_format_is_a_usage_error(tmp_path: Path):
    result = render(SPECS[0], "-o", tmp_path / "x.gif")
    assert result.exit_code == 2
    assert ".svg, .png, .pdf, .dot, .tex, .tikz" in result.output


def test_unwritable_file_is_an_error(tmp_path: Path):
    result = render(SPECS[0], "-o", tmp_path / "absent" / "x.svg")
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_without_a_renderer_the_svg_is_written_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = render(SPECS[0], "-o", tmp_path / "x.png")
    assert result.exit_code == 1
    assert "pip install 'vispec[render]'" in result.output
    assert (tmp_path / "x.svg").read_text().startswith("<?xml")
    assert not (tmp_path / "x.png").exists()
