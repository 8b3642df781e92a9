"""How a name is set in a figure or a formula: Greek names as letters, single letters in italics, words upright."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LETTERS = """alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π rho ρ
sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω"""
GREEK: dict[str, str] = dict(zip(_LETTERS.split()[::2], _LETTERS.split()[1::2], strict=True))

_NARROW = {**dict.fromkeys("iljt", 0.28), **dict.fromkeys(" .,|:;'!", 0.25), **dict.fromkeys("frIJ()[]-{}", 0.33)}
_WIDE = {**dict.fromkeys("mM", 0.80), **dict.fromkeys("wWφψω→∼", 0.75), **dict.fromkeys("=<>+−·", 0.57)}
_LATEX = {"\\": r"\backslash ", "_": r"\_", "%": r"\%", "#": r"\#", "$": r"\$", "&": r"\&", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\sim ", "^": r"\hat{}", "−": "{-}", "<": r"{\mathrm{<}}", "→": r"\to ", "∼": r"\sim ", "…": r"\ldots "}
_LATEX |= {"‥": r"\mathrm{..}", "|": r"\vert ", "·": r"\cdot ", "≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq "}
_LATEX |= {"\N{NO-BREAK SPACE}": r"\ ", "∧": r"\wedge ", "∨": r"\vee ", "¬": r"\neg "}
_LATEX |= {letter: f"\\{name} " for name, letter in GREEK.items()} | {"*": r"\ast "}
_WORD = re.compile(r"[^\W\d]\w*")
_WORD_SPACE = re.compile(r"(?<=[\w)\]]) (?=[\w(\[])")  # between two words, where TeX would drop it


@dataclass(frozen=True)
class Text:
    """A short text with an optional subscript; both are names or small expressions, shown as `glyph` says."""

    base: str
    sub: str = ""

    def width(self, size: float) -> float:
        """A generous estimate of the width, in the unit of `size`, for a Times-like face."""
        return advance(glyph(self.base), size) + advance(glyph(self.sub), 0.72 * size)

    @property
    def plain(self) -> str:
        """In one line of Unicode: `c[t−1]` has no better form, `θ` has."""
        return glyph(self.base) + (f"[{glyph(self.sub)}]" if self.sub else "")

    @property
    def latex(self) -> str:
        """As TeX mathematics, without the dollars."""
        return latex_name(self.base) + (f"_{{{latex_name(self.sub)}}}" if self.sub else "")


def glyph(name: str) -> str:
    """The name, or the letter that it spells."""
    return GREEK.get(name, name)


def runs(text: str) -> Iterator[tuple[str, bool]]:
    """The text in stretches, each with whether it is set in italics: names of one letter are; words, numbers, signs are not."""
    at = 0
    for word in _WORD.finditer(text):
        if word.start() > at:
            yield text[at : word.start()], False
        yield glyph(word.group()), len(glyph(word.group())) == 1
        at = word.end()
    if at < len(text):
        yield text[at:], False


def latex_name(text: str) -> str:
    """The text as TeX mathematics: letters bare, words upright, every special character escaped."""
    spaced = _WORD_SPACE.sub("\N{NO-BREAK SPACE}", text).replace("..", "‥")
    return "".join(_latex_run(run, slanted) for run, slanted in runs(spaced)).strip()


def _latex_run(run: str, slanted: bool) -> str:
    escaped = latex_escape(run)
    return f"\\mathrm{{{escaped}}}" if not slanted and any(c.isalpha() for c in run) else escaped


def latex_escape(text: str) -> str:
    """Text made safe inside TeX mathematics; Greek letters become their commands."""
    return "".join(_LATEX.get(c, c) for c in text if c.isprintable() or c in _LATEX)


def advance(text: str, size: float) -> float:
    """The estimated width of plain text."""
    return 1.06 * size * sum(_NARROW.get(c) or _WIDE.get(c) or (0.70 if c.isupper() else 0.49) for c in text)
