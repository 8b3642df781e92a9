"""Automatic guides, as a rewriting of the model: what lacks a guide gets parameters or a net, and a guide over them."""

from vispec.plan.guides.complete import complete_guides
from vispec.plan.guides.joint import JOINT_DOMAINS
from vispec.plan.guides.points import point_name, point_of
from vispec.plan.guides.questions import in_joint, is_point, is_shared
from vispec.plan.guides.reading import BASELINE

__all__ = ["BASELINE", "JOINT_DOMAINS", "complete_guides", "in_joint", "is_point", "is_shared", "point_name", "point_of"]
