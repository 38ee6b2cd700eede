"""A module of Triton kernels from tile programs, laid out by the template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from attn_dsl.codegen.kernel_text import KernelText, header
from attn_dsl.codegen.program import Argument, Pointer
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets.triton.functions import definitions
from attn_dsl.codegen.targets.triton.printer import KernelPrinter
from attn_dsl.planning.plan import ProgramPlan


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("attn_dsl", "templates"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("triton/module.py.j2")


def emit_module(
    plan: ProgramPlan, spec: Specialisation, kernels: Sequence[KernelText], *, interpreted: bool
) -> str:
    """The source of a module that defines all kernels of a program; ``interpreted``: for Triton's
    interpreter."""
    used: set[str] = set()
    items: list[dict[str, Any]] = []
    for kernel in kernels:
        printed = KernelPrinter(kernel, spec.matmul_precision, interpreted, used).run()
        items.append(
            {
                "name": kernel.name,
                "told": kernel.told,
                "plain": [a.name for a in kernel.arguments if not isinstance(a.source, Pointer)],
                "arguments": [
                    *map(_argument, kernel.arguments),
                    *(f"{n}: tl.constexpr" for n, _ in kernel.constants),
                ],
                "parts": printed,
            }
        )
    text = _template().render(
        header=header(plan, spec),
        functions=definitions(used, interpreted=interpreted),
        kernels=items,
    )
    return text.rstrip() + "\n"


def _argument(argument: Argument) -> str:
    if isinstance(argument.source, Pointer):
        return argument.name
    kind = "tl.int64" if argument.dtype == "i64" else "tl.int32"
    return f"{argument.name}: {kind}"
