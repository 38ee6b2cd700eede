"""The map of the compiler: its stages, in the order they run.

    1. load         text -> cascade            attn_dsl.language    parse, resolve names, inline functions;
                                                                    every error with its line
    2. evaluate     cascade, tensors -> tensors  attn_dsl.reference   what the text means, densely, in float64
    3. normalise    cascade -> cascade         attn_dsl.rewrites    hoist, distribute, share, base two
    4. analyse      cascade -> facts           attn_dsl.analysis    passes and folds; where elements exist;
                                                                    which part of a stream a row needs
    5. plan         cascade, params -> plan    attn_dsl.planning    the part of each index, what is computed by which
                                                                    kernel; no sizes, no types, no target
    6. generate     plan, specialisation -> program
                                               attn_dsl.codegen     tile programs; Triton or C++ source
                                                                    (attn_dsl/templates)
    7. differentiate  cascade -> cascade       attn_dsl.differentiation   the backward pass, which goes through
                                                                    stages 3 to 6 like any cascade
    8. account      cascade, sizes -> figures  attn_dsl.account     what it will cost, and why: counted from the guards
                                                                    of stage 4 and the tile programs of stage 6
    9. report       all of it -> pictures, a page   attn_dsl.report   masks with tiles, rooflines, costs over lengths
    10. run         program, tensors -> tensors  attn_dsl.runtime     arguments, cache, compiler, launch; the
                                                                    operators that torch sees

The intermediate representation that all of them share is ``attn_dsl.ir``. Stages 3 and 4 are called by stage
5, whose plan everything after it takes; stage 2 shares nothing with them, so that it can judge what they
produce (``attn_dsl.testing``). Everything a person types goes through ``attn_dsl.cli`` or
``attn_dsl.compile``; ``attn_dsl.nn`` and ``attn_dsl.transformers`` put what it gives into torch modules and
models.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attn_dsl.language.load import Specification, load_file, load_text

if TYPE_CHECKING:
    from attn_dsl.codegen.program import Program
    from attn_dsl.codegen.specialisation import Specialisation
    from attn_dsl.ir.cascade import Cascade
    from attn_dsl.planning import ProgramPlan


def load(source: str | Path) -> Specification:
    """Stage 1, of a path, or of a text (a ``str`` with a line break in it)."""
    return load_text(source) if isinstance(source, str) and "\n" in source else load_file(source)


def normalise(cascade: Cascade) -> Cascade:
    """Stage 3: the same meaning, arranged so that as little as possible stands inside a reduction."""
    from attn_dsl.rewrites import normal_form

    return normal_form(cascade)


def plan(cascade: Cascade, params: Mapping[str, int | float | bool]) -> ProgramPlan:
    """Stages 3 to 5: which kernels there are. NotLoweredError names what has none yet."""
    from attn_dsl.planning import plan

    return plan(cascade, params)


def generate(plan: ProgramPlan, specialisation: Specialisation) -> Program:
    """Stage 6: the kernels for given types and feature sizes. NotLoweredError names what does not fit."""
    from attn_dsl.codegen import generate

    return generate(plan, specialisation)


def compile_source(
    source: str | Path, params: Mapping[str, int | float | bool], specialisation: Specialisation
) -> Program:
    """From a file or text to kernels: stages 1 and 3 to 6. What ``attn_dsl.compile`` does, without its
    cache."""
    return generate(plan(load(source).cascade, params), specialisation)
