"""Differentiation, from cascade to cascade: the backward pass of a mechanism is a mechanism.

    backward : Cascade, names of inputs -> Backward       reverse mode
    tangent  : Cascade, names of inputs -> Tangent        forward mode

Both take what either gives, and so derivatives of any order are by the same two rules.

What comes out goes through the same rewrites, analysis and code generation as what a user writes, and the
dense reference evaluates it like any other cascade.
"""

from attn_dsl.differentiation.forward import Tangent, tangent
from attn_dsl.differentiation.reverse import Backward, backward

__all__ = ["Backward", "Tangent", "backward", "tangent"]
