"""Differentiation, from cascade to cascade: the backward pass of a mechanism is a mechanism.

    backward : Cascade, names of inputs -> Backward       reverse mode

What comes out goes through the same rewrites, analysis and code generation as what a user writes, and the dense
reference evaluates it like any other cascade.
"""

from attn_dsl.differentiation.reverse import Backward, backward

__all__ = ["Backward", "backward"]
