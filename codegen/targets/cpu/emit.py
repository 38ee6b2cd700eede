"""A C++ module of kernels from tile programs, laid out by the template."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from attn_dsl.codegen.kernel_text import KernelText, header
from attn_dsl.codegen.naming import Tile
from attn_dsl.codegen.program import COLLECTED, Argument, Extent, Pointer
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.codegen.targets.cpu.expressions import MEMORY, VALUES
from attn_dsl.codegen.targets.cpu.printer import KernelPrinter, Lanes
from attn_dsl.codegen.tiles import KernelBody, Store
from attn_dsl.planning.plan import ProgramPlan


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("attn_dsl", "templates"), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("cpu/module.cpp.j2")


def emit_module(plan: ProgramPlan, spec: Specialisation, kernels: Sequence[KernelText]) -> str:
    """The source of a module that defines all kernels of a program."""
    printed = [_kernel(k) for k in kernels]
    pairs = any("multiply_bf16" in line for k in printed for line in k["lines"])
    functions = "bfloat16.h" if pairs else "tiles.h"  # the former takes longer to compile than most kernels
    text = _template().render(header=header(plan, spec), functions=functions, kernels=printed)
    return text.rstrip() + "\n"


def _kernel(kernel: KernelText) -> dict[str, Any]:
    names = kernel.namer.texts
    lengths = {a.name: " * ".join(names[Tile(i)] for i, _ in a.parts) for a in kernel.axes}
    text = {axis: length if length.isidentifier() else f"({length})" for axis, length in lengths.items()}
    printer = KernelPrinter(kernel.body, Lanes(text, kernel.lanes), kernel.arguments, kernel.namer)
    parameters = [_parameter(a) for a in kernel.arguments]
    return {
        "name": kernel.name,
        "told": kernel.told,
        "constants": kernel.constants,
        "parameters": [declared for declared, _ in parameters],
        "arguments": [value for _, value in parameters],
        "tiles": _row_tiles(kernel) if _adds(kernel.body) else "",
        "parts": COLLECTED["parts"],
        "lines": printer.lines(),
    }


def _adds(body: KernelBody) -> bool:
    """Whether a kernel adds to computed places."""
    return any(isinstance(item, Store) and item.adds for block in body.blocks for item in block.items)


def _row_tiles(kernel: KernelText) -> str:
    """How many programs in succession may meet at a place, as text: the tiles of the rows, where all else has
    places of its own."""
    if not kernel.rows:
        return "programs"
    places = [a.source for a in kernel.arguments]
    return " * ".join(
        f"((words[{places.index(Extent(index))}] + {tile - 1}) / {tile})" for index, tile in kernel.rows
    )


def _parameter(argument: Argument) -> tuple[str, str]:
    """The declaration of a kernel's parameter, and how it is read from a 64-bit word."""
    name = argument.name
    if isinstance(argument.source, Pointer):
        kind = f"{MEMORY[argument.dtype]}*"
        return f"{kind} const {name}", f"reinterpret_cast<{kind}>(WORD)"
    kind = VALUES[argument.dtype]
    if kind in ("float", "double"):
        return f"const {kind} {name}", f"{kind}(attn::from_word(WORD))"
    return f"const {kind} {name}", f"{kind}(WORD)"
