"""A gate: one number per output, from a linear map that starts as a constant.

Shapes: B batch, T positions, D model width, G outputs.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_BIAS_INIT = 4.0  # sigmoid(4) = 0.982: every head starts nearly open
NEURAL_BIAS_INIT = 2.0  # the network starts ahead of every n-gram order


class Gate(nn.Module):
    """A linear map with bias whose weight starts at zero.

    It is no nn.Linear: it is neither initialised nor trained as the matrices are.
    """

    def __init__(self, width: int, bias_G: Tensor) -> None:
        """Start with the bias as the answer to every input."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(bias_G), width))
        self.bias = nn.Parameter(bias_G)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the outputs, BTG."""
        return functional.linear(x_BTD, self.weight.to(x_BTD.dtype), self.bias.to(x_BTD.dtype))


def head_gate(width: int, heads: int) -> Gate:
    """Return the gate whose sigmoid scales the output of each attention head."""
    return Gate(width, torch.full((heads,), HEAD_BIAS_INIT))


def expert_gate(width: int, experts: int) -> Gate:
    """Return the gate whose softmax weighs the network against the n-gram orders."""
    bias_E = torch.zeros(experts)
    bias_E[0] = NEURAL_BIAS_INIT
    return Gate(width, bias_E)
