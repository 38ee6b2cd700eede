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
    # Every float is a whole number of 2^-149: the sum is held in digits of 32 bits, each in 64, so that 2^31 additions
    # need no carry. Integers add up to the same in any order. The last digit says what of it is not finite.
    "_add_digits": '''
@triton.jit
def _add_digits(digits, x, mask):
    bits = x.to(tl.int32, bitcast=True)
    exponent = (bits >> 23) & 255
    fraction = bits & 0x7FFFFF
    kind = tl.where(fraction != 0, 4, tl.where(bits < 0, 2, 1)).to(tl.int64)
    tl.atomic_or(digits + 9, kind, mask=mask & (exponent == 255), sem="relaxed")
    mask = mask & (exponent < 255)
    whole = tl.where(exponent == 0, fraction, fraction | 0x800000)
    whole = tl.where(bits < 0, -whole, whole)
    place = tl.maximum(exponent, 1) - 1
    digits += place >> 5
    place &= 31
    low = whole << place
    tl.atomic_add(digits, low.to(tl.uint32, bitcast=True).to(tl.int64), mask=mask & (low != 0), sem="relaxed")
    high = whole >> (32 - tl.maximum(place, 1))
    tl.atomic_add(digits + 1, high.to(tl.int64), mask=mask & (high != 0), sem="relaxed")
''',
    "_add_exactly": '''
@triton.jit
def _add_exactly(digits, x, mask):
    if digits.numel < 2048:
        _add_digits(digits, x, mask)
    else:  # in two halves: digits of all lanes at once are too many for the registers
        every = (tl.full(digits.shape, True, tl.int1) & mask).to(tl.int8)
        summands = tl.zeros(digits.shape, tl.float32) + x
        digits_1, digits_2 = tl.split(tl.reshape(digits, [digits.numel // 2, 2]))
        x_1, x_2 = tl.split(tl.reshape(summands, [digits.numel // 2, 2]))
        mask_1, mask_2 = tl.split(tl.reshape(every, [digits.numel // 2, 2]))
        _add_digits(digits_1, x_1, mask_1 != 0)
        _add_digits(digits_2, x_2, mask_2 != 0)
''',
}  # fmt: skip

_NEEDS = {
    "_floor_div": ("_floor_mod",),
    "_tanh": ("_expm1",),
    "_softplus": ("_log1p",),
    "_add_exactly": ("_add_digits",),
}


def definitions(used: set[str]) -> str:
    """The source of the functions, each after those it calls."""
    wanted = used | {need for name in used for need in _NEEDS.get(name, ())}
    return "\n".join(text for name, text in FUNCTIONS.items() if name in wanted)
