"""Names of arguments and layers in the classes of nets."""

import keyword

USED_BY_EMITTED_CODE = """
self batch index torch nn F Tensor tilt total query other n lengths rule one memory
len float int range dict next iter zip list max tuple
"""
RESERVED = frozenset(USED_BY_EMITTED_CODE.split())


def identifier(name: str) -> str:
    """A spec's name as a Python one: keywords and the names that emitted code uses get a trailing underscore."""
    return name + "_" if keyword.iskeyword(name) or name in RESERVED else name
