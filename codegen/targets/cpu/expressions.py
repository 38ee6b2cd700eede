"""Scalar operations of the tile program as C++ text. Values of f16 and bf16 are floats, rounded where
cast."""

from __future__ import annotations

from attn_dsl.codegen.brackets import CHOICE, COMPARISON, Text, infix, negated, number
from attn_dsl.codegen.numbers import is_float
from attn_dsl.codegen.spelling import COMBINATIONS, DTYPES, FUNCTIONS, spelt
from attn_dsl.codegen.tiles import Apply, Cast, Choose, Const, Counted, Node
from attn_dsl.ir.reductions import Reduction

# The type of a value of each dtype, of its lanes in an array, and of an element in memory.
VALUES = {name: spelling.value for name, spelling in DTYPES.items()}
LANES = {**VALUES, "bool": "int32_t"}  # as wide as a float's, so that both fill vectors alike
MEMORY = {name: spelling.memory for name, spelling in DTYPES.items()}
_INFIX = infix(division="/", remainder="%")
_CALLS = {
    "relu": "attn::relu_", "clamp": "attn::clamp_", "floordiv": "attn::floor_div", "mod": "attn::floor_mod",
    "wrapping_add": "attn::wrapping_add", "wrapping_sub": "attn::wrapping_sub",
    "wrapping_mul": "attn::wrapping_mul", "wrapping_neg": "attn::wrapping_neg", "uceildiv": "attn::ceil_div",
    **{name: function.cpp for name, function in FUNCTIONS.items()},
}  # fmt: skip
_IDENTITY = {r.rule.combine: r.rule.identity for r in Reduction}


def is_packed(dtype: str) -> bool:
    """Whether an element is narrower than its value."""
    return MEMORY[dtype] != VALUES[dtype]


def constant(node: Node) -> Text:
    """A literal of the node's type."""
    assert isinstance(node.operation, Const)
    return number(literal(repr(node.operation.value), node.dtype))


def literal(text: str, dtype: str) -> str:
    """A number, as Python writes it, as a literal."""
    if dtype == "bool":
        return "true" if text in ("True", "1") else "false"
    if not is_float(dtype):
        if text in ("inf", "-inf"):
            return f"INT{64 if dtype == 'i64' else 32}_{'MAX' if text == 'inf' else 'MIN'}"
        # The least integer has no literal: a minus before a number too large for the type makes it a wider
        # one.
        smallest = {-(2**31): "INT32_MIN", -(2**63): "INT64_MIN"}.get(int(text), text)
        return f"int64_t({smallest})" if dtype == "i64" else smallest
    kind = VALUES[dtype]
    special = {"inf": f"{kind}(INFINITY)", "-inf": f"-{kind}(INFINITY)", "nan": f"{kind}(NAN)"}
    if text in special:
        return special[text]
    value = repr(float(text))
    return value if dtype == "f64" else f"{value}f"


def combine(operator: str, a: str, b: str) -> str:
    """Two partial results of a reduction as one."""
    return COMBINATIONS[operator].cpp.format(a, b)


def identity(operator: str, dtype: str) -> str:
    """What a reduction starts from."""
    return literal(_IDENTITY[operator], dtype)


def cast(text: Text, source: str, target: str) -> Text:
    """A value as another dtype."""
    if target == "bool":
        return _INFIX["ne"].of(text, Text("0"))
    if is_float(target) and is_packed(target):
        return Text(f"attn::round_{target}({text})") if source != target else text
    if VALUES[source] == VALUES[target] and not is_packed(target):
        return text
    if is_float(source) and not is_float(target):
        return Text(f"{VALUES[target]}(attn::to_integer<{MEMORY[target]}>({text}))")
    if is_packed(target):
        return Text(f"{VALUES[target]}({MEMORY[target]}({text}))")
    return Text(f"{VALUES[target]}({text})")


def read(pointer: str, offset: Text, dtype: str) -> Text:
    """An element of memory as a value."""
    element = Text(f"{pointer}[{offset}]")
    if not is_packed(dtype):
        return element
    if dtype == "bool":
        return _INFIX["ne"].of(element, Text("0"))
    return Text(f"attn::from_{dtype}({element})" if is_float(dtype) else f"{VALUES[dtype]}({element})")


def written(text: Text, dtype: str) -> str:
    """A value as an element of memory."""
    if not is_packed(dtype):
        return text.text
    return f"attn::to_{dtype}({text})" if is_float(dtype) else f"{MEMORY[dtype]}({text})"


def choice(condition: Text, then: Text, otherwise: Text) -> Text:
    """One of two values."""
    parts = (condition.at(COMPARISON), then.at(COMPARISON), otherwise.at(COMPARISON))
    return Text(f"{parts[0]} ? {parts[1]} : {parts[2]}", CHOICE)


def operation(node: Node, parts: list[Text]) -> Text:
    """An operator or function of the language on values."""
    match node.operation:
        case Choose():
            return choice(*parts)
        case Counted():
            zero = Text(literal("0", node.dtype))
            return choice(parts[0], _INFIX["add"].of(parts[1], zero), negated(zero))
        case Cast():
            return cast(parts[0], node.operands[0].dtype, node.dtype)
        case Apply(name=name):
            return _applied(name, node, parts)
        case other:
            raise AssertionError(f"no value of a lane is {other}")


def _applied(name: str, node: Node, parts: list[Text]) -> Text:
    if name in _INFIX:
        return _INFIX[name].of(*parts)
    match name:
        case "neg":
            return negated(parts[0])
        case "not":
            return negated(parts[0], "!")
        case "min" | "max":
            text = parts[0]
            for part in parts[1:]:
                text = Text(f"attn::{name}imum({text}, {part})")
            return text
        case "pow" if is_float(node.dtype):
            return Text(f"attn::power_({parts[0]}, {parts[1]})")
        case "pow":
            return Text(f"{VALUES[node.dtype]}(attn::power_(int64_t({parts[0]}), int64_t({parts[1]})))")
        case _:
            spelling = _CALLS[name]
            return Text(spelt(spelling, [p.atom if "{" in spelling else p.text for p in parts]))
