"""The map of the compiler: its stages, in the order they run.

    1. load         text -> cascade            attn_dsl.language    parse, resolve names, inline functions;
                                                                    every error with its line
    2. evaluate     cascade, tensors -> tensors  attn_dsl.reference   what the text means, densely, in float64
    3. normalise    cascade -> cascade         attn_dsl.rewrites    hoist, distribute, share, base two
    4. analyse      cascade -> facts           attn_dsl.analysis    passes and folds; where elements exist;
                                                                    which part of a stream a row needs
    5. generate     cascade, specialisation -> program
                                               attn_dsl.codegen     roles of the indices, kernels, tiles;
                                                                    Triton or C++ source (attn_dsl/templates)
    6. differentiate  cascade -> cascade       attn_dsl.differentiation   the backward pass, which goes through
                                                                    stages 3 to 5 like any cascade
    7. account      cascade, sizes -> figures  attn_dsl.account     what it will cost, and why: counted from the guards
                                                                    of stage 4 and the tile programs of stage 5
    8. report       all of it -> pictures, a page   attn_dsl.report   masks with tiles, rooflines, costs over lengths
    9. run          program, tensors -> tensors  attn_dsl.runtime     arguments, cache, compiler, launch; the
                                                                    operators that torch sees

The intermediate representation that all of them share is ``attn_dsl.ir``. Stages 3 and 4 are called by stage 5;
stage 2 shares nothing with them, so that it can judge what they produce (``attn_dsl.testing``). Everything a
person types goes through ``attn_dsl.cli`` or ``attn_dsl.compile``; ``attn_dsl.nn`` and ``attn_dsl.transformers`` put
what it gives into torch modules and models.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attn_dsl.language.load import Specification, load_file, load_text

if TYPE_CHECKING:
    from attn_dsl.codegen.program import Program
    from attn_dsl.codegen.specialisation import Specialisation
    from attn_dsl.ir.cascade import Cascade


def load(source: str | Path) -> Specification:
    """Stage 1, of a path, or of a text (a ``str`` with a line break in it)."""
    return load_text(source) if isinstance(source, str) and "\n" in source else load_file(source)


def normalise(cascade: Cascade) -> Cascade:
    """Stage 3: the same meaning, arranged so that as little as possible stands inside a reduction."""
    from attn_dsl.rewrites import normal_form

    return normal_form(cascade)


def generate(cascade: Cascade, specialisation: Specialisation) -> Program:
    """Stages 3 to 5: kernels for given types and feature sizes. NotLoweredError names what has none yet."""
    from attn_dsl.codegen import generate

    return generate(cascade, specialisation)


def compile_source(source: str | Path, specialisation: Specialisation) -> Program:
    """From a file or text to kernels: stages 1, 3, 4, 5. What ``attn_dsl.compile`` does, without its cache."""
    return generate(load(source).cascade, specialisation)
