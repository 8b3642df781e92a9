"""Explanation → text: for a terminal, or the body of a LaTeX document that loads amsmath and amssymb."""

from vispec.explain.explain import Explanation
from vispec.graph.symbols import GREEK
from vispec.screen import folded


def show_explanation(explanation: Explanation, titled: bool = True) -> str:
    """Plain text, or TeX where the explanation is in TeX."""
    return (_show_latex if explanation.latex else _show_text)(explanation, titled)


def _show_text(explanation: Explanation, titled: bool) -> str:
    blocks = [explanation.title + "\n" + "=" * len(explanation.title)] if titled else []
    for section in explanation.sections:
        formulas = [part for line in section.formulas for part in folded(line, "    ", "      ")]
        blocks.append("\n".join((section.heading, *folded(section.prose, "  "), *([""] if formulas else []), *formulas)))
    return "\n\n".join(blocks) + "\n"


def _show_latex(explanation: Explanation, titled: bool) -> str:
    blocks = [rf"\section*{{{_prose(explanation.title)}}}"] if titled else []
    for section in explanation.sections:
        rows = " \\\\\n".join(f"  & {line}" for line in section.formulas)
        formulas = f"\n\\begin{{align*}}\n{rows}\n\\end{{align*}}" if rows else ""
        blocks.append(f"\\paragraph{{{_prose(section.heading)}}} {_prose(section.prose)}{formulas}")
    return "\n\n".join(blocks) + "\n"


def _prose(text: str) -> str:
    """Words for TeX's text mode."""
    table = {c: f"\\{c}" for c in "_%#$&{}"} | {
        "^": r"\textasciicircum{}",
        "|": r"\textbar{}",
        "·": r"$\cdot$",
        "~": r"\textasciitilde{}",
        "−": "$-$",
        "∇": r"$\nabla$",
        **{letter: f"$\\{name}$" for name, letter in GREEK.items()},
    }
    return "".join(table.get(c, c) for c in text)
