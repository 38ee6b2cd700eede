"""A cascade back to ``.attn`` text: parsing what is printed gives the cascade again."""

from __future__ import annotations

import hashlib

from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Index, Param, Reduction, Statement
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
    return ",".join(":" if e is None else print_expr(e) for e in exprs)


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


def _constant(value: int | float | bool) -> tuple[str, int]:
    if isinstance(value, bool):
        return ("true" if value else "false"), _ATOM
    if value != value:
        return "(inf - inf)", _ATOM
    text = "inf" if value == float("inf") else "-inf" if value == float("-inf") else repr(value)
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
    for declared in cascade.inputs:
        dtype = f": {declared.dtype}" if declared.dtype else ""
        axes = ", ".join(_axis(cascade, a) for a in declared.axes)
        lines.append(f"input {declared.name}{f'[{axes}]' if declared.axes else ''}{dtype}")
    lines += [line for index in cascade.indices if (line := _index(index))]
    lines += [f"mask {m.name} = {print_expr(m.predicate)}" for m in cascade.masks]
    lines += [print_statement(s) for s in cascade.statements]
    for output in cascade.outputs:
        dtype = f": {output.dtype}" if output.dtype else ""
        axes = ", ".join(_axis(cascade, a) for a in output.axes)
        lines.append(f"output {output.name}{f'[{axes}]' if output.axes else ''}{dtype}")
    return "\n".join(lines) + "\n"


def _param(param: Param) -> str:
    default = "" if param.default is None else f" = {_constant(param.default)[0]}"
    return f"param {param.name}: {param.kind}{default}"


def _axis(cascade: Cascade, axis: Axis) -> str:
    first = axis.indices[0]
    if first.startswith("_"):
        size = cascade.index(first).size
        return "_" if size is None else print_expr(size)
    alias = f"{axis.name}=" if axis.name else ""
    return f"{alias}({' '.join(axis.indices)})" if len(axis.indices) > 1 or alias else first


def _index(index: Index) -> str | None:
    size = index.size if index.size is not None else index.limit
    if size is None or index.name.startswith("_"):
        return None
    return f"index {index.name} < {print_expr(size)}"


def cascade_key(cascade: Cascade) -> str:
    """A hash of the meaning, the same in every process: sha256 of the printed text, in hexadecimal."""
    return hashlib.sha256(print_cascade(cascade).encode()).hexdigest()
