"""Scalar operations of the tile program as C++ text. Values of f16 and bf16 are floats, rounded where cast."""

from __future__ import annotations

from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.spelling import COMBINATIONS, DTYPES, FUNCTIONS, spelt
from attn_dsl.codegen.tiles import Node
from attn_dsl.ir.reductions import Reduction

# The type of a value of each dtype, of its lanes in an array, and of an element in memory.
VALUES = {name: spelling.value for name, spelling in DTYPES.items()}
LANES = {**VALUES, "bool": "int32_t"}  # as wide as a float's, so that both fill vectors alike
MEMORY = {name: spelling.memory for name, spelling in DTYPES.items()}
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==",
    "ne": "!=", "and": "&", "or": "|", "shl": "<<", "shr": ">>", "bitand": "&", "bitor": "|", "bitxor": "^",
    "ufloordiv": "/", "umod": "%",
}  # fmt: skip
_CALLS = {
    "relu": "attn::relu_", "clamp": "attn::clamp_", "floordiv": "attn::floor_div", "mod": "attn::floor_mod",
    "wrapping_add": "attn::wrapping_add", "wrapping_sub": "attn::wrapping_sub",
    "wrapping_mul": "attn::wrapping_mul", "wrapping_neg": "attn::wrapping_neg",
    **{name: function.cpp for name, function in FUNCTIONS.items()},
}  # fmt: skip
_IDENTITY = {r.rule.combine: r.rule.identity for r in Reduction}


def is_packed(dtype: str) -> bool:
    """Whether an element is narrower than its value."""
    return MEMORY[dtype] != VALUES[dtype]


def constant(node: Node) -> str:
    """A literal of the node's type."""
    return literal(node.attributes[0], node.dtype)


def literal(text: str, dtype: str) -> str:
    """A number, as Python writes it, as a literal."""
    if dtype == "bool":
        return "true" if text in ("True", "1") else "false"
    if not is_float(dtype):
        if text in ("inf", "-inf"):
            return f"INT{64 if dtype == 'i64' else 32}_{'MAX' if text == 'inf' else 'MIN'}"
        # The least integer has no literal: a minus before a number too large for the type makes it a wider one.
        smallest = {-(2**31): "INT32_MIN", -(2**63): "INT64_MIN"}.get(int(text), text)
        return f"int64_t({smallest})" if dtype == "i64" else smallest
    kind = VALUES[dtype]
    special = {"inf": f"{kind}(INFINITY)", "-inf": f"-{kind}(INFINITY)", "nan": f"{kind}(NAN)"}
    if text in special:
        return special[text]
    number = repr(float(text))
    return number if dtype == "f64" else f"{number}f"


def combine(operator: str, a: str, b: str) -> str:
    """Two partial results of a reduction as one."""
    return COMBINATIONS[operator].cpp.format(a, b)


def identity(operator: str, dtype: str) -> str:
    """What a reduction starts from."""
    return literal(_IDENTITY[operator], dtype)


def cast(text: str, source: str, target: str) -> str:
    """A value as another dtype."""
    if target == "bool":
        return f"({text} != 0)"
    if is_float(target) and is_packed(target):
        return f"attn::round_{target}({text})" if source != target else text
    if VALUES[source] == VALUES[target] and not is_packed(target):
        return text
    if is_float(source) and not is_float(target):
        return f"{VALUES[target]}(attn::to_integer<{MEMORY[target]}>({text}))"
    if is_packed(target):
        return f"{VALUES[target]}({MEMORY[target]}({text}))"
    return f"{VALUES[target]}({text})"


def read(pointer: str, offset: str, dtype: str) -> str:
    """An element of memory as a value."""
    element = f"{pointer}[{offset}]"
    if not is_packed(dtype):
        return element
    if dtype == "bool":
        return f"({element} != 0)"
    return f"attn::from_{dtype}({element})" if is_float(dtype) else f"{VALUES[dtype]}({element})"


def written(text: str, dtype: str) -> str:
    """A value as an element of memory."""
    if not is_packed(dtype):
        return text
    return f"attn::to_{dtype}({text})" if is_float(dtype) else f"{MEMORY[dtype]}({text})"


def operation(node: Node, parts: list[str]) -> str:
    """An operator or function of the language on values."""
    name = node.operation
    if name in _INFIX:
        return f"({parts[0]} {_INFIX[name]} {parts[1]})"
    match name:
        case "neg":
            return f"(-{parts[0]})"
        case "not":
            return f"(!{parts[0]})"
        case "where":
            return f"({parts[0]} ? {parts[1]} : {parts[2]})"
        case "counted":
            zero = literal("0", node.dtype)
            return f"({parts[0]} ? {parts[1]} + {zero} : -{zero})"
        case "cast":
            return cast(parts[0], node.operands[0].dtype, node.dtype)
        case "min" | "max":
            text = parts[0]
            for part in parts[1:]:
                text = f"attn::{name}imum({text}, {part})"
            return text
        case "pow" if is_float(node.dtype):
            return f"attn::power_({parts[0]}, {parts[1]})"
        case "pow":
            return f"{VALUES[node.dtype]}(attn::power_(int64_t({parts[0]}), int64_t({parts[1]})))"
        case _:
            return spelt(_CALLS[name], parts)
