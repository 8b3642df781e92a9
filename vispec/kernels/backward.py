"""What the backward passes of operations may promise. This file's name is the first among the kernels, as a module's text has
them in their order, and a decorator must come before what it decorates."""

import torch


def first_derivative(backward):
    """A backward pass that takes for constants what depends on the inputs too, such as posterior probabilities: right once.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("there is a first derivative only here; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once
