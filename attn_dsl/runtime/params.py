"""The params of an operator: given values checked against their declarations."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade, Param

_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool}


def resolve_params(cascade: Cascade, given: Mapping[str, Any]) -> dict[str, int | float | bool]:
    """Every param's value. ArgumentError for an unknown name, a wrong type, or none where none is default."""
    declared = {p.name: p for p in cascade.params}
    for name in given:
        if name not in declared:
            close = difflib.get_close_matches(name, list(declared), n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"params: {', '.join(declared) or 'none'}"
            raise ArgumentError(Diagnostic(f"{cascade.name} has no param '{name}'", help=hint))
    return {name: _value(param, given) for name, param in declared.items()}


def _value(param: Param, given: Mapping[str, Any]) -> int | float | bool:
    if param.name not in given:
        if param.default is None:
            raise ArgumentError(
                Diagnostic(
                    f"param '{param.name}' has no default and is not given",
                    param.span,
                    f"compile(..., {param.name}=...)",
                )
            )
        return param.default
    value = given[param.name]
    kind = _TYPES[param.kind]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ArgumentError(
            Diagnostic(
                f"param '{param.name}' is {param.kind}, got {value!r}",
                param.span,
                "give True or False"
                if kind is bool
                else "give a whole number"
                if kind is int
                else "give a number",
            )
        )
    return value
