"""What the backward passes of our operations may promise. (Its name comes first among the kernels, as its decorator must.)"""

import torch


def first_derivative(backward):
    """A backward pass that reads what the forward pass found, such as responsibilities, as constants: right once, wrong twice.

    So it raises where its result would be differentiated again (`create_graph`, `hessian`). torch's own `once_differentiable`
    looks at the incoming gradient alone: that of a sum is constant, and its second derivative would be 0 in silence."""

    def once(ctx, *grads):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            raise RuntimeError("this sum has a first derivative only; for a Hessian, take differences of gradients")
        return backward(ctx, *grads)

    return once
