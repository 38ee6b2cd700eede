"""How a program is cut into tiles: what a user may say of it, and the table that says the rest."""

from __future__ import annotations

from attn_dsl.codegen.schedule.schedule import Schedule, require_usable

__all__ = ["Schedule", "require_usable"]
