"""The graph: who reads whom, in which plates, for every spec."""

import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest

from vispec.graph.build import ModelGraph, build_graph, show_graph
from vispec.model.check import check_model
from vispec.source import Source
from vispec.syntax.parse import parse

SPECS = sorted(Path(__file__).parents[1].joinpath("specs").glob("*.vispec"))


def graph_of(name: str) -> ModelGraph:
    path = next(path for path in SPECS if path.stem == name)
    return build_graph(check_model(parse(Source.read(path))))


def edges(graph: ModelGraph, **wanted: object) -> set[tuple[str, str]]:
    """The (tail, head) of the edges with these attributes."""
    found = graph.graph.edges(data=True)
    return {(tail, head) for tail, head, data in found if all(data[key] == value for key, value in wanted.items())}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_only_the_past_and_self_selection_close_cycles(path: Path):
    graph = build_graph(check_model(parse(Source.read(path))))
    present = nx.DiGraph(
        (tail, head)
        for tail, head, data in graph.graph.edges(data=True)
        if not data["past"] and not data["guide"] and tail != head
    )
    assert nx.is_directed_acyclic_graph(present)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_members_of_plates_are_those_that_stand_in_them(path: Path):
    model = check_model(parse(Source.read(path)))
    graph = build_graph(model)
    drawn = {plate.name for plate in model.plates if not plate.implicit}
    for item in (*model.variables, *model.params, *model.lets):
        assert {plate for plate, members in graph.members.items() if item.name in members} == {*item.plates} & drawn


def test_chain_edge_has_its_lag():
    graph = graph_of("hmm")
    assert edges(graph, past=True, lag=1) == {("c", "c")}
    assert edges(graph, past=False) == {("init", "c"), ("trans", "c"), ("emit", "x"), ("c", "x")}


def test_prefix_reaches_into_the_past_without_a_lag():
    graph = graph_of("sentence_vae")
    assert edges(graph, access="prefix", past=True, lag=None) == {("x", "x")}
    assert edges(graph, guide=True, access="all") == {("x", "z")}


def test_reading_through_a_net_goes_both_past_and_via_it():
    graph = graph_of("ibm1")
    assert edges(graph, via=("lex",)) == {("y", "x"), ("a", "x")}
    assert edges(graph, access="net") == {("lex", "x")}


def test_plates_cross_only_where_neither_holds_the_other():
    assert graph_of("annotators").crossed == (("annotator", "item"),)
    assert graph_of("lda").crossed == ()


def test_net_with_a_prior_is_latent():
    nodes = graph_of("bnn").graph.nodes
    assert (nodes["f"]["kind"], nodes["f"]["role"]) == ("net", "latent")


def test_printed_form():
    assert show_graph(graph_of("annotators")) == (
        "graph Annotators\n"
        "  plate annotator[A]: confusion, label\n"
        "  plate k[K]: confusion\n"
        "  plate item: truth, label\n"
        "  param prevalence : simplex[K]\n"
        "  param confusion : simplex[K] in annotator, k\n"
        "  latent truth : index[k] in item\n"
        "    <- prevalence\n"
        "  partial label : category[K] in item, annotator\n"
        "    <- confusion[...]\n"
        "    <- truth\n"
        "  annotator crosses item\n"
    )


def test_drawing_needs_no_torch_and_no_renderer(tmp_path: Path):
    spec, target = next(path for path in SPECS if path.stem == "hmm"), tmp_path / "hmm.svg"
    script = (
        "import sys\n"
        "from vispec.cli.commands.render import ENTRY\n"
        f"ENTRY.command.main([{str(spec)!r}, '-o', {str(target)!r}], standalone_mode=False)\n"
        "sys.exit(bool({'torch', 'matplotlib', 'graphviz'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert target.read_text().startswith("<?xml")
