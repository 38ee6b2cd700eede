"""Cascade to program to source."""

from attn_dsl.codegen.generate import generate, whole_indices

__all__ = ["generate", "whole_indices"]
