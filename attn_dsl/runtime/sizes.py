"""Bind the arguments of a call and solve the sizes of all indices from their shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any

import torch

from attn_dsl.analysis.widths import LARGEST_EXTENT
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir import dtypes
from attn_dsl.ir.cascade import Axis, Cascade, Index, Input
from attn_dsl.ir.expr import Const, Expr, Op, ParamRef, Read, SizeOf

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, row.torch) for name, row in dtypes.DTYPES.items()}
NAMES: dict[torch.dtype, str] = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Bound:
    """Arguments by name, all on one device, and the size of every index."""

    arguments: dict[str, torch.Tensor]
    sizes: dict[str, int]


def bind(
    cascade: Cascade, params: Mapping[str, int | float | bool], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Bound:  # fmt: skip
    """Match arguments to inputs and solve the sizes. ArgumentError says what does not fit."""
    arguments = conforming(cascade, by_name(cascade, args, kwargs))
    return Bound(arguments, solve_sizes(cascade, params, arguments))


def conforming(cascade: Cascade, given: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The arguments in the order of the inputs, numbers as tensors. ArgumentError says what does not fit."""
    device = next(
        (v.device for v in given.values() if isinstance(v, torch.Tensor) and v.dim()), torch.device("cpu")
    )
    return {i.name: _tensor(i, given[i.name], device, number_dtype(i, given)) for i in cascade.inputs}


def number_dtype(declared: Input, given: Mapping[str, Any]) -> torch.dtype:
    """The dtype of a Python number among arguments: as declared, else as wide as the widest tensor wants
    it."""
    if declared.dtype is not None:
        return DTYPES[declared.dtype]
    doubles = (v.dtype == torch.float64 for v in given.values() if isinstance(v, torch.Tensor))
    return torch.float64 if any(doubles) else torch.float32


def by_name(cascade: Cascade, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What is given for each input. ArgumentError says what is missing or too much."""
    names = [i.name for i in cascade.inputs]
    if len(args) > len(names):
        raise ArgumentError(
            Diagnostic(
                f"{cascade.name} takes {len(names)} arguments, {len(args)} given", help=signature_of(cascade)
            )
        )
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            raise ArgumentError(
                Diagnostic(f"{cascade.name} has no input '{name}'", help=signature_of(cascade))
            )
        if name in given:
            raise ArgumentError(Diagnostic(f"'{name}' is given twice", help=signature_of(cascade)))
        given[name] = value
    for declared in cascade.inputs:
        if isinstance(value := given.get(declared.name), torch.Tensor) and value.is_nested:
            raise _wrong(
                declared, "is a nested tensor",
                "pad it: torch.nested.to_padded_tensor(x, 0.0), with the lengths as an input; or pack its sequences "
                "into one, with the number of each as an input",
            )  # fmt: skip
    missing = [n for n in names if n not in given]
    if missing:
        raise ArgumentError(Diagnostic(f"'{missing[0]}' is missing", help=signature_of(cascade)))
    return given


def signature_of(cascade: Cascade) -> str:
    """The call of a mechanism, every input as it is declared."""
    return f"{cascade.name}({', '.join(map(describe, cascade.inputs))})"


def describe(declared: Input) -> str:
    """An input as it is declared."""
    axes = ", ".join("_" if a.indices[0].startswith("_") else _axis(a) for a in declared.axes)
    return (f"{declared.name}[{axes}]" if axes else declared.name) + (
        f": {declared.dtype}" if declared.dtype else ""
    )


def _axis(axis: Axis) -> str:
    return axis.indices[0] if len(axis.indices) == 1 else f"({' '.join(axis.indices)})"


def _tensor(declared: Input, value: Any, device: torch.device, number: torch.dtype) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        if declared.axes or not isinstance(value, (int, float, bool)):
            wanted = "a torch.Tensor" if declared.axes else "a number or a 0-d torch.Tensor"
            raise _wrong(declared, f"is a {type(value).__name__}, not a tensor", f"pass {wanted}")
        # A fill, unlike a copy from the host, can be captured in a CUDA graph.
        value = torch.full((), value, dtype=number, device=device)
    if value.dim() == 0:
        value = value.to(device)
    if value.device != device:
        raise _wrong(
            declared, f"is on {value.device}, others on {device}", "move all arguments to one device"
        )
    check_argument(declared, value)
    return value


def check_argument(declared: Input, value: torch.Tensor) -> None:
    """ArgumentError where a tensor's layout, number of dimensions or dtype is not what its input declares."""
    if value.layout != torch.strided:
        raise _wrong(declared, f"has layout {value.layout}, not strided", "convert it: .to_dense()")
    if value.dim() != len(declared.axes):
        raise _wrong(
            declared,
            f"has {value.dim()} dimensions {tuple(value.shape)}, not {len(declared.axes)}",
            f"it is {describe(declared)}",
        )
    name = NAMES.get(value.dtype)
    wanted = declared.dtype
    if wanted is None and name not in dtypes.FLOATS:
        raise _wrong(
            declared,
            f"has dtype {value.dtype}, "
            + ("which no kernel reads" if name is None else "a floating type is expected"),
            _instead(declared, value, name),
        )
    if wanted is not None and name != wanted:
        raise _wrong(
            declared, f"has dtype {value.dtype}, not {DTYPES[wanted]}", f"convert it: .to({DTYPES[wanted]})"
        )


def _instead(declared: Input, value: torch.Tensor, name: str | None) -> str:
    """What to give where a floating type is expected."""
    if value.is_complex():
        return "give its real part"
    if name is None:
        return f"files have {', '.join(DTYPES)}; convert it: .to(torch.bfloat16)"
    return f"convert it, or declare it: {declared.name}[...]: {name}"


def _wrong(declared: Input, what: str, help: str) -> ArgumentError:
    return ArgumentError(Diagnostic(f"argument '{declared.name}' {what}", declared.span, help))


Extent = Callable[[str, torch.Tensor], int]


def largest_entry(index: str, limits: torch.Tensor) -> int:
    """The extent of an index that only a tensor limits: the largest it allows."""
    return max(int(limits.max()), 0) if limits.numel() else 0


def solve_sizes(
    cascade: Cascade, params: Mapping[str, int | float | bool], arguments: Mapping[str, torch.Tensor],
    extent: Extent = largest_entry,
) -> dict[str, int]:  # fmt: skip
    """The size of every index. ArgumentError names the inputs that disagree. Sizes may be symbols (SymInt),
    and are so then; ``extent`` gives that of an index that only the values of a tensor limit."""
    sizes: dict[str, int] = {}
    origin: dict[str, str] = {}
    pending = [(i, a, arguments[i.name].shape[at]) for i in cascade.inputs for at, a in enumerate(i.axes)]
    indices = {i.name: i for i in cascade.indices}
    progress = True
    while progress:
        progress = False
        for item in list(pending):
            if _solve_axis(*item, arguments, sizes, origin):
                pending.remove(item)
                progress = True
        for name, index in indices.items():
            if name not in sizes:
                size = _declared(index, params, sizes, arguments, None if pending else extent)
                if size is not None:
                    sizes[name], origin[name] = size, f"'index {name}'"
                    progress = True
    if pending:
        declared, axis, _ = pending[0]
        raise _wrong(declared, f"leaves the sizes of {_axis(axis)} open", "give one of them: index r < 8")
    for name, index in indices.items():
        size = _evaluate(index.size, params, sizes, arguments)
        if size is not None and not holds(size == sizes[name]):
            raise ArgumentError(
                Diagnostic(
                    f"index '{name}' has size {sizes[name]} in {origin[name]}, and is declared {size}",
                    index.span,
                )
            )
    _check_extents(cascade, sizes)
    return sizes


def _check_extents(cascade: Cascade, sizes: Mapping[str, Any]) -> None:
    """ArgumentError where an index, or several in one dimension, has more elements than a kernel can
    count."""
    composites = [a.indices for part in (*cascade.inputs, *cascade.outputs) for a in part.axes]
    for indices in (*((name,) for name in sizes), *composites):
        extent: Any = prod(sizes[i] for i in indices)  # of symbols, a symbol
        if isinstance(extent, int) and extent > LARGEST_EXTENT:
            what = f"index '{indices[0]}'" if len(indices) == 1 else f"dimension ({' '.join(indices)})"
            raise ArgumentError(
                Diagnostic(
                    f"{what} has {extent} elements, more than the {LARGEST_EXTENT} of a kernel's coordinates",
                    help="part it into several calls",
                )
            )


def _solve_axis(
    declared: Input, axis: Axis, extent: int, arguments: Mapping[str, torch.Tensor], sizes: dict[str, int],
    origin: dict[str, str],
) -> bool:  # fmt: skip
    unknown = [i for i in axis.indices if i not in sizes]
    known = 1
    for index in axis.indices:
        known *= sizes.get(index, 1)
    shape = tuple(arguments[declared.name].shape)
    if not unknown:
        if not holds(known == extent):
            index = axis.indices[-1]
            what = (
                f"index '{index}' is {sizes[index]}"
                if len(axis.indices) == 1
                else f"{_axis(axis)} is {known}"
            )
            raise _wrong(
                declared, f"of shape {shape} does not fit: {what} in {origin[index]}, {extent} here", ""
            )
        return True
    if len(unknown) > 1:
        return False
    if not holds(known != 0) or not holds(extent % known == 0):
        raise _wrong(
            declared,
            f"of shape {shape} does not fit: {extent} is no multiple of {known} in {_axis(axis)}",
            "",
        )
    sizes[unknown[0]] = extent // known
    origin[unknown[0]] = f"'{declared.name}' {shape}"
    return True


def _evaluate(
    expr: Expr | None, params: Mapping[str, int | float | bool], sizes: Mapping[str, int],
    arguments: Mapping[str, torch.Tensor],
) -> int | None:  # fmt: skip
    match expr:
        case Const(value=value):
            return int(value)
        case ParamRef(name=name):
            return int(params[name])
        case SizeOf(index=index):
            return sizes.get(index)
        case Op(name=name, args=args):
            values = [_evaluate(a, params, sizes, arguments) for a in args]
            known = [v for v in values if v is not None]
            return _apply(name, known, expr) if len(known) == len(values) else None
        case _:
            return None


_MOST_BITS = 62


def _is_huge(exponent: Any) -> bool:
    return isinstance(exponent, int) and exponent > _MOST_BITS


def _apply(name: str, v: list[int], expr: Expr) -> int:
    match name:
        case "add":
            return v[0] + v[1]
        case "sub":
            return v[0] - v[1]
        case "mul":
            return v[0] * v[1]
        case "floordiv" | "mod" if not holds(v[1] != 0):
            raise ArgumentError(Diagnostic("the size of an index divides by 0", expr.span))
        case "floordiv":
            return v[0] // v[1]
        case "mod":
            return v[0] % v[1]
        case "neg":
            return -v[0]
        case "min" | "max":
            return _smallest(*v) if name == "min" else _largest(*v)
        case "pow" | "shl" if _is_huge(v[1]):
            raise ArgumentError(
                Diagnostic(
                    f"the size of an index is larger than 2 ** {_MOST_BITS}", expr.span, "make it smaller"
                )
            )
        case "pow":
            return v[0] ** v[1]
        case "shl" | "shr":
            return v[0] << v[1] if name == "shl" else v[0] >> v[1]
        case "clamp":
            return _smallest(_largest(v[0], v[1]), v[2])
        case "abs":
            return _largest(v[0], -v[0])
        case _:
            raise ArgumentError(Diagnostic(f"'{name}' cannot stand in the size of an index", expr.span))


def _declared(
    index: Index, params: Mapping[str, int | float | bool], sizes: Mapping[str, int],
    arguments: Mapping[str, torch.Tensor], extent: Extent | None,
) -> int | None:  # fmt: skip
    """The size that the declaration of an index gives, as far as it is known; by its limit only with
    ``extent``."""
    size = _evaluate(index.size, params, sizes, arguments)
    if size is None and extent is not None:
        if isinstance(index.limit, Read):
            return extent(index.name, arguments[index.limit.tensor])
        size = _evaluate(index.limit, params, sizes, arguments)
    return None if size is None else _largest(size, 0)


def holds(relation: Any) -> bool:
    """Whether a relation of sizes holds. Of symbols it becomes a guard, or, where they stand for numbers that
    are not known yet, is taken for true: the launch solves the sizes anew."""
    if isinstance(relation, bool):
        return relation
    return bool(relation) if relation.node.has_hint() else True


def _largest(*sizes: Any) -> int:
    return max(sizes) if all(isinstance(s, int) for s in sizes) else reduce(torch.sym_max, sizes)


def _smallest(*sizes: Any) -> int:
    return min(sizes) if all(isinstance(s, int) for s in sizes) else reduce(torch.sym_min, sizes)


def sizes_follow_from_shapes(cascade: Cascade) -> bool:
    """Whether the sizes of all indices are known from the shapes of the arguments, not their values."""
    alone = {a.indices[0] for i in cascade.inputs for a in i.axes if len(a.indices) == 1}
    return all(i.name in alone or not isinstance(i.limit, Read) for i in cascade.indices)


def evaluate_size(
    expr: Expr | None, params: Mapping[str, int | float | bool], sizes: Mapping[str, int]
) -> int | None:
    """The value of a size expression, or None where it needs a size that is not known."""
    return _evaluate(expr, params, sizes, {})
