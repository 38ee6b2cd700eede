"""The machines that programs are generated for: ``cpu``, ``cuda:90``, ``hip:gfx942``, ``interpreter``."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

from attn_dsl.errors import ArgumentError, Diagnostic

if TYPE_CHECKING:
    from attn_dsl.codegen.targets.target import Target

# By what stands before the colon of an architecture: the module that has its ``target``.
_TARGETS = {"cpu": "cpu", "cuda": "triton", "hip": "triton", "interpreter": "triton"}


@lru_cache
def target_of(architecture: str) -> Target:
    """The target of an architecture. ArgumentError where there is none."""
    family = architecture.partition(":")[0]
    if family not in _TARGETS:
        raise ArgumentError(
            Diagnostic(
                f"there is no architecture '{architecture}'",
                help="give cpu, interpreter, cuda:90, or hip:gfx942",
            )
        )
    module = import_module(f"attn_dsl.codegen.targets.{_TARGETS[family]}.target")
    found: Target = module.target(architecture)
    return found


__all__ = ["target_of"]
