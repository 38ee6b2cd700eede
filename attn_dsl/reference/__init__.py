"""What a cascade means, computed densely by torch operations: the measure every kernel is held to.

    evaluate : Cascade, params, arguments, sizes -> results

Shares nothing with code generation; imports the representation and nothing else of the package.
"""

from attn_dsl.reference.dense import evaluate

__all__ = ["evaluate"]
