"""Device functions a generated module carries with it, only those it uses.

Integer division rounds down in the language and towards zero on the machine. ``expm1`` and ``log1p`` are
series near 0, where the plain formula loses its digits; ``tanh`` and ``softplus`` stand on them.
"""

from __future__ import annotations

FUNCTIONS: dict[str, str] = {
    "_floor_mod": '''
@triton.jit
def _floor_mod(a, b):
    return ((a % b) + b) % b
''',
    "_floor_div": '''
@triton.jit
def _floor_div(a, b):
    return (a - _floor_mod(a, b)) // b
''',
    "_expm1": '''
@triton.jit
def _expm1(x):
    series = x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7 * (1 + x / 8)))))))
    return tl.where(tl.abs(x) < 0.35, series, tl.exp(x) - 1)
''',
    "_log1p": '''
@triton.jit
def _log1p(x):
    s = x / (2 + x)
    t = s * s
    series = 2 * s * (1 + t * (1 / 3 + t * (1 / 5 + t * (1 / 7 + t * (1 / 9 + t * (1 / 11))))))
    return tl.where(tl.abs(x) < 0.3, series, tl.log(1 + x))
''',
    "_tanh": '''
@triton.jit
def _tanh(x):
    e = _expm1(-2 * tl.abs(x))
    t = -e / (2 + e)
    return tl.where(x < 0, -t, t)
''',
    "_sigmoid": '''
@triton.jit
def _sigmoid(x):
    return 1 / (1 + tl.exp(-x))
''',
    "_softplus": '''
@triton.jit
def _softplus(x):
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL) + _log1p(tl.exp(-tl.abs(x)))
''',
    "_power": '''
@triton.jit
def _power(a, b):
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    odd = (b - 2 * tl.floor(b / 2)) == 1
    whole = tl.floor(b) == b
    signed = tl.where(a < 0, tl.where(whole, tl.where(odd, -size, size), float("nan")), size)
    return tl.where(b == 0, 1.0, signed)
''',
    "_multiply": '''
@triton.jit
def _multiply(a, b):
    return a * b
''',
    "_uniform": '''
@triton.jit
def _uniform(seed, c0, c1, c2, c3):
    word, _, _, _ = tl.philox(seed, c0, c1, c2, c3)
    return (word >> 8).to(tl.float32) * 5.9604644775390625e-08
''',
}  # fmt: skip

_NEEDS = {
    "_floor_div": ("_floor_mod",),
    "_tanh": ("_expm1",),
    "_softplus": ("_log1p",),
}


def definitions(used: set[str]) -> str:
    """The source of the functions, each after those it calls."""
    wanted = used | {need for name in used for need in _NEEDS.get(name, ())}
    return "\n".join(text for name, text in FUNCTIONS.items() if name in wanted)
