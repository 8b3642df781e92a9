"""report.html: in words, with an axis that can be read and a line for each restart; no names of keys."""

import re
import time
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from vispec.cli.main import main
from vispec.train.store.curves import Axis, curves, series
from vispec.train.store.report import latents

SPEC = """\
param p : simplex[2]
plate k[2]:
    param rate : positive
plate n:
    latent z : index[k] ~ Categorical(p)
    observed x : count ~ Poisson(rate[z])
"""
SCORE = {"kl": 0.25, "collapsed": False, "active_units": 1, "units": 2}
DIAGNOSED = {
    "rows": 5,
    "samples": 64,
    "latents": {"z": SCORE, "<b>": SCORE | {"kl": 0.001, "collapsed": True}},
    "shared_kl": None,
    "effective_samples": 12.5,
    "posterior_collapse": ["<b>"],
    "collapse_below": 0.01,
}


class Words(HTMLParser):
    """Text outside of what is folded, of the diagram and the spec; and whether each tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "rect", "circle", "path", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not {"pre", "style", "figure"} & {*self.open}:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    (folder / "a<b.vispec").write_text(SPEC)
    (folder / "d.csv").write_text("x\n" + "\n".join(str(n) for n in (0, 1, 0, 2, 9, 11, 8, 10, 1, 12, 0, 1)) + "\n")
    words = ["fit", folder / "a<b.vispec", folder / "d.csv", "--restarts", "3", "--no-verify", "--out", folder / "run"]
    result = CliRunner().invoke(main, [*map(str, words), "--threads", "1"])
    assert result.exit_code == 0, result.output
    return (folder / "run" / "report.html").read_text()


def test_the_page_says_in_words_how_the_fit_ended(page: str) -> None:
    told = Words()
    told.feed(page)
    text = " ".join(told.words)
    assert told.open == [], "a tag is not closed"
    assert told.links == [], "the page stands alone"
    for words in ("fitted to 12 rows of d.csv", "log-probability", "converged: ", "3 free parameters, AIC", "BIC", "rate[0]"):
        assert words in text, words
    assert not re.search(r"\b(True|False|None|null|nan)\b", text)
    assert not re.search(r"\b[a-z_]+\.[a-z_]+\.[a-z_]+\b|[a-z]_[a-z]", text), "no names of keys"
    assert "<b.vispec" not in page
    assert "a&lt;b.vispec" in page
    assert re.search(r"<details><summary>Configuration</summary><table>", page)


def test_each_restart_is_a_line_of_its_own(page: str) -> None:
    picture = page[page.index("Log-probability per row") :]
    assert picture.count("<polyline") + picture.count("<circle") == 3
    starts = [float(x) for x in re.findall(r'points="([\d.]+),', picture)]
    assert len({*starts}) == 1, "all begin at the left"
    assert picture.count('text-anchor="middle"') >= 3
    assert ">epoch<" in picture


def test_validation_has_lines_too() -> None:
    lines = [
        {"event": "epoch", "restart": r, "epoch": e, "step": 10 * r + e, "train": {"log_prob_per_row": -float(e)}}
        | ({"valid": {"log_prob_per_row": -e - 1.0}} if e % 2 else {})
        for r in range(2)
        for e in range(1, 6)
    ]
    found = series([*lines, {"event": "end", "train": {"log_prob_per_row": 0.0}}, {"event": "step", "train": {}}])
    assert {name: [len(line) for line in each] for name, each in found.items()} == {"train": [5, 5], "valid": [3, 3]}
    drawn = curves(found)
    assert drawn.count("<polyline") == 4
    assert ">valid<" in drawn


def test_latents_are_told_in_words() -> None:
    told = latents({"train": {"diagnostics": DIAGNOSED}, "valid": None})
    assert "train: KL of z: 0.25 nats per row, 1 of 2 units active" in told
    assert "posterior collapse: &lt;b&gt; tells nothing of its row" in told
    assert latents({"train": {"diagnostics": None}, "valid": None}) == ""


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0, 6.0, ["0", "2", "4", "6"]),
        (-4.19, -4.155, ["-4.19", "-4.18", "-4.17", "-4.16"]),
        (-1230.0, 800.0, ["-1000", "-500", "0", "500"]),
        (5.0, 5.0, ["4.6", "4.8", "5.0", "5.2", "5.4"]),
    ],
)
def test_ticks_are_round(low: float, high: float, words: list[str]) -> None:
    axis = Axis.of(low, high, 0.0, 100.0)
    assert axis.words() == words
    assert all(-1e-6 <= axis.at(tick) <= 100 + 1e-6 for tick in axis.ticks)


def test_long_fits_are_drawn_in_linear_time() -> None:
    line = [(float(i), -1.0 / (i + 1)) for i in range(300_000)]
    began = time.perf_counter()
    drawn = curves({"train": [line]})
    assert time.perf_counter() - began < 3
    assert len(drawn) < 30_000
    assert curves({}) == "<p>No epoch was completed.</p>"
