"""A cascade back to ``.attn`` text: parsing what is printed gives the cascade again."""

from __future__ import annotations

import hashlib
import math

from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Input, Output, Param, Reduction, Statement
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
)
from attn_dsl.ir.operators import COMPARISONS, OPERATORS

_SELECT, _OR, _AND, _NOT, _COMPARE = 0, 1, 2, 3, 4
_BINDING = {
    "or": _OR, "and": _AND, "not": _NOT, **dict.fromkeys(COMPARISONS, _COMPARE),
    "bitor": 5, "bitxor": 6, "bitand": 7, "shl": 8, "shr": 8, "add": 9, "sub": 9,
    "mul": 10, "div": 10, "floordiv": 10, "mod": 10, "neg": 11, "pow": 12,
}  # fmt: skip
_ATOM = 13


def print_expr(expr: Expr) -> str:
    """The expression with the brackets its operators need."""
    return _print(expr)[0]


def _at(expr: Expr, binding: int) -> str:
    text, own = _print(expr)
    return text if own >= binding else f"({text})"


def _list(exprs: tuple[Expr, ...]) -> str:
    return ", ".join(print_expr(e) for e in exprs)


def _slots(exprs: tuple[Expr | None, ...]) -> str:
    plain = all(e is None or isinstance(e, (IndexVar, Const, ParamRef)) for e in exprs)
    return ("," if plain else ", ").join(":" if e is None else print_expr(e) for e in exprs)


def _print(expr: Expr) -> tuple[str, int]:
    match expr:
        case Const(value=value):
            return _constant(value)
        case ParamRef(name=name) | IndexVar(name=name):
            return name, _ATOM
        case SizeOf(index=index):
            return f"size({index})", _ATOM
        case Read(tensor=tensor, indices=indices):
            return f"{tensor}[{_slots(indices)}]", _ATOM
        case Select(condition=c, then=a, otherwise=b):
            return f"{_at(a, _OR)} if {_at(c, _OR)} else {_at(b, _SELECT)}", _SELECT
        case Default(value=v, fallback=f):
            return f"default({print_expr(v)}, {print_expr(f)})", _ATOM
        case Member(element=e, tensor=tensor, indices=indices):
            return f"{_at(e, 5)} in {tensor}[{_slots(indices)}]", _COMPARE
        case Cast(dtype=dtype, value=v):
            return f"{dtype}({print_expr(v)})", _ATOM
        case Detach(value=v):
            return f"detach({print_expr(v)})", _ATOM
        case Op(name=name, args=args):
            return _operation(name, args)


def _constant(value: float | bool) -> tuple[str, int]:
    if isinstance(value, bool):
        return ("true" if value else "false"), _ATOM
    if math.isnan(value):
        return "(inf - inf)", _ATOM
    text = repr(value)
    return text, _BINDING["neg"] if text.startswith("-") else _ATOM


def _operation(name: str, args: tuple[Expr, ...]) -> tuple[str, int]:
    operator = OPERATORS[name]
    if operator.symbol is None:
        return f"{name}({_list(args)})", _ATOM
    own = _BINDING[name]
    if name == "not":
        return f"not {_at(args[0], own)}", own
    if name == "neg":
        return f"-{_at(args[0], own)}", own
    if name == "pow":
        return f"{_at(args[0], _ATOM)} ** {_at(args[1], _BINDING['neg'])}", own
    left = own + 1 if name in COMPARISONS else own
    return f"{_at(args[0], left)} {operator.symbol} {_at(args[1], own + 1)}", own


def print_statement(statement: Statement) -> str:
    """One statement, on one line."""
    guard = f"  where {print_expr(statement.where)}" if statement.where is not None else ""
    if isinstance(statement, Einsum):
        operator = _reduce_symbol(statement.reduce)
        return f"{statement.target}[{_slots(statement.keys)}] {operator} {print_expr(statement.body)}{guard}"
    count = f", {print_expr(statement.count)}" if statement.count is not None else ""
    call = f"{statement.kind.value}[{statement.over}]({print_expr(statement.body)}{count})"
    return f"{statement.target}[{','.join(statement.dims)}] = {call}{guard}"


def _reduce_symbol(reduce: Reduction | None) -> str:
    return "=" if reduce is None else f"{reduce.value}="


def print_cascade(cascade: Cascade) -> str:
    """The whole cascade as legal text."""
    lines = [f"attention {cascade.name}"]
    lines += [_param(p) for p in cascade.params]
    lines += _inputs_and_indices(cascade)
    lines += [f"mask {m.name} = {print_expr(m.predicate)}" for m in cascade.masks]
    lines += [print_statement(s) for s in cascade.statements]
    lines += [_layout("output", output, [_axis(a) for a in output.axes]) for output in cascade.outputs]
    return "\n".join(lines) + "\n"


def _inputs_and_indices(cascade: Cascade) -> list[str]:
    """Inputs and ``index`` lines, woven so that the indices come into being in the cascade's order."""
    lines: list[str] = []
    waiting = list(cascade.indices)
    for tensor in cascade.inputs:
        new = [index for index in waiting if index.name in tensor.dims]
        while new and waiting[0] is not new[0]:
            lines += _index(waiting.pop(0))
        axes = [_input_axis(cascade, axis, lines) for axis in tensor.axes]
        lines.append(_layout("input", tensor, axes))
        for index in new:
            waiting.remove(index)
            lines += _index(index)
    return lines + [line for index in waiting for line in _index(index)]


def _param(param: Param) -> str:
    default = "" if param.default is None else f" = {_constant(param.default)[0]}"
    return f"param {param.name}: {param.kind}{default}"


def _layout(word: str, tensor: Input | Output, axes: list[str]) -> str:
    dtype = f": {tensor.dtype}" if tensor.dtype else ""
    dims = f"[{', '.join(axes)}]" if axes else ""
    return f"{word} {tensor.name}{dims}{dtype}"


def _axis(axis: Axis) -> str:
    members = " ".join(axis.indices)
    if axis.name:
        return f"{axis.name}=({members})"
    return members if len(axis.indices) == 1 else f"({members})"


def _input_axis(cascade: Cascade, axis: Axis, lines: list[str]) -> str:
    """One dimension; a fixed size that is more than a number or a param is named by a ``let`` before."""
    first = axis.indices[0]
    if not first.startswith("_"):
        return _axis(axis)
    match cascade.index(first).size:
        case None:
            return "_"
        case Const() | ParamRef() as size:
            return print_expr(size)
        case size:
            name = f"size_of{first}"
            lines.append(f"let {name} = {print_expr(size)}")
            return name


def _index(index: Index) -> list[str]:
    size = index.size if index.size is not None else index.limit
    if size is None or index.name.startswith("_"):
        return []
    return [f"index {index.name} < {print_expr(size)}"]


def cascade_key(cascade: Cascade) -> str:
    """A hash of the meaning, the same in every process: sha256 of the printed text, in hexadecimal."""
    return hashlib.sha256(print_cascade(cascade).encode()).hexdigest()
