"""Device functions a generated module carries with it, only those it uses.

Integer division rounds down in the language and towards zero on the machine. ``expm1`` and ``log1p`` are
series near 0, where the plain formula loses its digits; ``tanh`` and ``softplus`` stand on them.
"""

from __future__ import annotations

FUNCTIONS: dict[str, str] = {
    # The least integer by -1 has no quotient, and a machine may do anything then.
    "_mod_of_integers": '''
@triton.jit
def _mod_of_integers(a, b):
    divisor = tl.where((b == 0) | (b == -1), 1, b)
    rest = a % divisor
    return tl.where((rest != 0) & ((rest < 0) != (divisor < 0)), rest + divisor, rest)
''',
    "_floordiv_of_integers": '''
@triton.jit
def _floordiv_of_integers(a, b):
    divisor = tl.where((b == 0) | (b == -1), 1, b)
    rest = a % divisor
    quotient = a // divisor - ((rest != 0) & ((rest < 0) != (divisor < 0))).to(a.dtype)
    return tl.where(b == 0, 0, tl.where(b == -1, -a, quotient))
''',
    # A negative power of what is not 1 or -1 is cut to 0.
    "_pow_of_integers": '''
@triton.jit
def _pow_of_integers(a, b):
    square = a.to(tl.int64) + tl.zeros_like(b.to(tl.int64))
    rest = tl.where(b < 0, 0, b).to(tl.int64) + tl.zeros_like(square)
    result = tl.full(square.shape, 1, tl.int64)
    for _ in range(63):
        result = tl.where((rest & 1) != 0, result * square, result)
        square = square * square
        rest = rest >> 1
    inverse = tl.where(a == 1, 1, tl.where(a == -1, 1 - 2 * (b & 1), 0))
    return tl.where(b < 0, inverse, result)
''',
    # The remainder is exact, and has the sign of the divisor.
    "_mod_of_reals": '''
@triton.jit
def _mod_of_reals(a, b):
    rest = _remainder(a, b)
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)
''',
    "_floordiv_of_reals": '''
@triton.jit
def _floordiv_of_reals(a, b):
    rest = _remainder(a, b)
    exact = (a - rest) / b
    exact = tl.where((rest != 0) & ((rest < 0) != (b < 0)), exact - 1, exact)
    low = tl.floor(exact)
    return tl.where(b == 0, a / b, tl.where(exact - low > 0.5, low + 1, low))
''',
    # Shifts by any number: all bits are gone from the width on, and by what is negative.
    "_shift_left": '''
@triton.jit
def _shift_left(a, count):
    held = count & (a.dtype.primitive_bitwidth - 1)
    return tl.where(count == held, a << held, 0)
''',
    "_shift_right": '''
@triton.jit
def _shift_right(a, count):
    held = count & (a.dtype.primitive_bitwidth - 1)
    return a >> tl.where(count == held, held, a.dtype.primitive_bitwidth - 1)
''',
    # Towards zero; what the type does not hold becomes the nearest that it holds, and NaN 0.
    "_to_integer": '''
@triton.jit
def _to_integer(x, low: tl.constexpr, high: tl.constexpr, dtype: tl.constexpr):
    above: tl.constexpr = high + 1.0
    below: tl.constexpr = low - 1.0
    inside = tl.where((x > below) & (x < above), x, 0.0).to(dtype)
    most, least = tl.full([], high, dtype), tl.full([], low, dtype)
    return tl.where(x >= above, most, tl.where(x <= below, least, inside))
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
    "_pow_of_reals": '''
@triton.jit
def _pow_of_reals(a, b):
    a, b = tl.broadcast(a, b)
    infinity = float("inf")
    size = tl.exp2(b * tl.log2(tl.abs(a)))
    size = tl.where((tl.abs(a) == 1) & (tl.abs(b) == infinity), 1.0, size)
    odd = (b - 2 * tl.floor(b / 2)) == 1
    whole = (tl.floor(b) == b) | (a == -infinity)
    negative = (a < 0) | ((a == 0) & (1 / a < 0))
    signed = tl.where(odd & negative, -size, size)
    result = tl.where((a < 0) & (whole == 0), float("nan"), signed)
    return tl.where((b == 0) | (a == 1), 1.0, result)
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
    # Every float is a whole number of 2^-149: the sum is held in digits of 32 bits, each in 64, so that 2^31
    # additions need no carry. Integers add up to the same in any order. The last digit says what of it is not
    # finite.
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

# NaN wins in a maximum, which `tl.max` forgets; `%` of reals is exact in the interpreter and inexact where
# compiled; the interpreter knows no functions of libdevice, and takes a second for a thousand elements of a
# reduction of one's own.
_COMPILED: dict[str, str] = {
    "_greater": '''
@triton.jit
def _greater(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
''',
    "_lesser": '''
@triton.jit
def _lesser(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)
''',
    "_greatest": '''
@triton.jit
def _greatest(x, axis: tl.constexpr):
    return tl.reduce(x, axis, _greater)
''',
    "_least": '''
@triton.jit
def _least(x, axis: tl.constexpr):
    return tl.reduce(x, axis, _lesser)
''',
    "_remainder": '''
from triton.language.extra import libdevice


@triton.jit
def _remainder(a, b):
    return libdevice.fmod(a, b)
''',
}  # fmt: skip
_INTERPRETED: dict[str, str] = {
    "_greatest": '''
@triton.jit
def _greatest(x, axis: tl.constexpr):
    nan = tl.max((x != x).to(tl.int32), axis) != 0
    return tl.where(nan, float("nan"), tl.max(tl.where(x == x, x, float("-inf")), axis))
''',
    "_least": '''
@triton.jit
def _least(x, axis: tl.constexpr):
    nan = tl.max((x != x).to(tl.int32), axis) != 0
    return tl.where(nan, float("nan"), tl.min(tl.where(x == x, x, float("inf")), axis))
''',
    "_remainder": '''
@triton.jit
def _remainder(a, b):
    return a % b
''',
}  # fmt: skip

_NEEDS = {
    "_floordiv_of_reals": ("_remainder",),
    "_mod_of_reals": ("_remainder",),
    "_greatest": ("_greater",),
    "_least": ("_lesser",),
    "_tanh": ("_expm1",),
    "_softplus": ("_log1p",),
    "_add_exactly": ("_add_digits",),
}


def definitions(used: set[str], *, interpreted: bool) -> str:
    """The source of the functions, each after those it calls."""
    wanted = used | {need for name in used for need in _NEEDS.get(name, ())}
    forms = _INTERPRETED if interpreted else _COMPILED
    return "\n".join(text for name, text in {**forms, **FUNCTIONS}.items() if name in wanted)
