"""A value that is another one along other axes has no line of its own."""

import re
from pathlib import Path

import pytest

from vispec.compile import compile_spec
from vispec.source import Source

ALONG_A_CHAIN = """
size K = 2
plate k[K]:
    plate h[2]:
        param p : simplex[K]
plate row:
    given z : index[h]
    chain t[3]:
        latent c : index[k] ~ Uniform() then Categorical(p[c[t-1], z])
        observed x : real ~ Normal(c, 1)
"""
SPECS = Path(__file__).parents[2] / "specs"
ALIAS = re.compile(r"^ +(?!.*= (?:None|True|False)\b)\w+ = [A-Za-z_]\w*(?:  #.*)?$", re.MULTILINE)


@pytest.mark.parametrize("name", ["along_a_chain", "mixture_hmm", "hmm_alignment"])
def test_no_line_only_renames(name: str) -> None:
    text = ALONG_A_CHAIN if name == "along_a_chain" else (SPECS / f"{name}.vispec").read_text(encoding="utf-8")
    found = compile_spec(Source(f"{name}.vispec", text))
    methods = found[found.index("    def log_prob") :]
    assert not ALIAS.findall(methods)
