"""Nets of the mean of what counts."""

from vispec.catalog import networks
from vispec.model.model import Net
from vispec.model.types import FINITE_DOMAINS
from vispec.trunk import bind


def ends_in_mlp_of_mean(net: Net) -> bool:
    """Its mean of vectors is all that the mask is for, and a linear layer comes next."""
    if len(net.trunk) < 2:
        return False
    *before, pool, last = net.trunk
    if (pool.layer, last.layer) != ("mean", "mlp") or not bind(last)["sizes"]:
        return False
    if any(networks()[each.layer].ordered or networks()[each.layer].pools for each in before):
        return False
    (_, type), *_ = net.args
    return bool(before) or type.domain not in FINITE_DOMAINS or type.domain == "bit"
