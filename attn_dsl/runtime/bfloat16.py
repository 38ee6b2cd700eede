"""bf16 in Triton's interpreter, which keeps it as the bits of an unsigned integer.

Its dot multiplies those bits as if they were numbers, and its conversion cuts bits off where a GPU rounds to
nearest. The operations here stand in for both while a launch is interpreted.
"""

from __future__ import annotations

from typing import Any


def operations() -> list[tuple[Any, str, Any, Any]]:
    """Owner, name, Triton's own and ours."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    own_dot, own_cast = InterpreterBuilder.create_dot, InterpreterBuilder.cast_impl

    def dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        a, b = (
            TensorHandle(widen(x.data), tl.float32) if x.dtype.scalar == tl.bfloat16 else x for x in (a, b)
        )
        return own_dot(self, a, b, *rest)

    def cast(self: Any, source: Any, kind: Any) -> Any:
        before, after = source.dtype.scalar, kind.scalar
        if before == after or tl.bfloat16 not in (before, after):
            return own_cast(self, source, kind)
        if before == tl.bfloat16:
            source = TensorHandle(widen(source.data), tl.float32)
            return source if after == tl.float32 else own_cast(self, source, kind)
        return TensorHandle(narrow(own_cast(self, source, tl.float32).data), tl.bfloat16)

    return [
        (InterpreterBuilder, "create_dot", own_dot, dot),
        (InterpreterBuilder, "cast_impl", own_cast, cast),
    ]


def widen(bits: Any) -> Any:
    """The f32 numbers that bf16 bits stand for; exact."""
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrow(numbers: Any) -> Any:
    """The bits of the nearest bf16 numbers, ties to even; NaN stays NaN."""
    import numpy as np
    import torch

    rounded = torch.from_numpy(np.array(numbers, dtype=np.float32)).to(torch.bfloat16)
    return rounded.view(torch.uint16).numpy()
