"""Names of arguments and layers in the classes of nets."""

import keyword

from vispec.torch.text.names import PYTHON
from vispec.torch.text.source_text import kernel_names

USED_BY_EMITTED_CODE = """
batch index tilt total query other n lengths rule one memory kept
"""
RESERVED = PYTHON | frozenset(USED_BY_EMITTED_CODE.split())


def identifier(name: str) -> str:
    """A spec's name as a Python one: keywords and the names that emitted code uses get a trailing underscore, and
    two in front, which a class mangles, a word before them."""
    name = f"its{name}" if name.startswith("__") else name
    return name + "_" if keyword.iskeyword(name) or name in RESERVED else name


def size_name(name: str) -> str:
    """A size as the constructor's argument, which calls kernels."""
    safe = identifier(name)
    return f"{safe}_" if safe in kernel_names() else safe
