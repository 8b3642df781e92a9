"""Guides with layers of their own, flows and those over several latents at once: what the constructor makes for them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from vispec.lower.outputs import Outputs
from vispec.model.model import Flow
from vispec.plan.held.joint_guide import KERNELS, numbers, size_of
from vispec.torch.members.members import Members
from vispec.torch.members.parameters import local_size

LAYERS = ("vispec.kernels.draws.autoregressive", "AutoregressiveLayers")
CLASSES = {"full_rank": "FullRankGaussian", "low_rank": "LowRankGaussian", "flow": "AutoregressiveFlow"}


def guide_modules(o: Outputs, members: Members) -> Iterator[tuple[str, tuple[str, str], str]]:
    """The attribute, the class and the arguments, of those that some method calls."""
    sizes, frame, model = partial(local_size, names=members.names), o.f.frame, o.model
    joint = model.joint
    if joint is not None and ("module", joint.attribute) in members.attributes:
        settings = "".join(f", {name}={value}" for name, value in joint.settings)
        yield joint.attribute, (KERNELS, CLASSES[joint.family]), f"{sizes(numbers(frame, joint))}{settings}"
    for guide in model.guide:
        if isinstance(law := guide.law, Flow) and ("module", law.attribute) in members.attributes:
            arguments = [sizes(size_of(axis)) for axis in frame.shape(model.variable[guide.name].type)]
            arguments += [f"{name}={value}" for name, value in law.settings]
            if law.context is not None:
                arguments.append(f"context={sizes(size_of(frame.shape(law.context.type)[0]))}")
            yield law.attribute, LAYERS, ", ".join(arguments)
