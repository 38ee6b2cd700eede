"""Which indices a tile holds entirely; asked before every call, so it imports little."""

from __future__ import annotations

from dataclasses import replace

from attn_dsl.codegen.dependence import Dependence
from attn_dsl.codegen.roles import assign_roles
from attn_dsl.codegen.scattering import kernel_form
from attn_dsl.ir.cascade import Cascade


def whole_indices(cascade: Cascade) -> tuple[str, ...]:
    """The indices a tile holds entirely: their extents are part of the specialisation."""
    formed = kernel_form(cascade)
    computed = tuple(o for o in formed.outputs if o.name not in formed.saved)
    roles = assign_roles(Dependence(replace(formed, outputs=computed)))
    return tuple(i.name for i in cascade.indices if i.name in roles.whole)
