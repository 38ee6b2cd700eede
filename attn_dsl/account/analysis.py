"""``analyse``: from a mechanism, sizes and a device to the account of what it costs, before any kernel
runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from attn_dsl.account.call import complete_sizes, dtype_name, facts_of, tiled_indices
from attn_dsl.account.devices import DEVICES, Device, device
from attn_dsl.account.masks import account_mask, combinations, mask_formula
from attn_dsl.account.model import Analysis, ProgramAccount, Tiling
from attn_dsl.account.program import account_kernels, passes_as_written
from attn_dsl.account.roofline import roofline
from attn_dsl.account.values import Facts
from attn_dsl.codegen.generation import Lowering, lower
from attn_dsl.codegen.schedule import Schedule
from attn_dsl.codegen.specialisation import Specialisation
from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.ir.cascade import Cascade
from attn_dsl.ir.walk import tensors_read
from attn_dsl.planning import ProgramPlan, plan

if TYPE_CHECKING:
    from attn_dsl.differentiation import Backward

Params = Mapping[str, int | float | bool]
DEFAULT_DEVICE = "H100"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for. ``params``: every param's value; ``tensors``: samples of data that masks depend
    on."""

    cascade: Cascade
    params: Params
    sizes: Mapping[str, int]
    dtype: torch.dtype | str | None = None
    device: str = DEFAULT_DEVICE
    tiles: tuple[int, int] | None = None
    tensors: Mapping[str, torch.Tensor] | None = None
    backward: bool = False


def analyse(request: Request) -> Analysis:
    """The account. Without sizes, the formulas of the masks alone. ArgumentError where the request does not
    fit the file, NotLoweredError where the mechanism becomes no kernel."""
    target = device(request.device)
    _check_tiles(request.tiles)
    dtype = dtype_name(request.dtype, target.architecture == "cpu")
    if not request.sizes and not request.tensors:
        return _formulas(request, dtype, target)
    return _Account(request, dtype, target).run()


def lowered(request: Request) -> tuple[Lowering, Facts]:
    """The forward pass as the account counts it: its tile programs, and what is known of the call. Errors as
    ``analyse``."""
    target = device(request.device)
    _check_tiles(request.tiles)
    return _Account(request, dtype_name(request.dtype, target.architecture == "cpu"), target).lowered()


def live_operations(request: Request) -> int:
    """The operations of live elements in products, which is what torch counts of a call; of the backward pass
    alone where that is asked for. Errors as ``analyse``."""
    account = _Account(request, dtype_name(request.dtype, on_cpu=False), device(request.device))
    program = account.backward() if request.backward else account.forward(request.tiles)
    return sum(k.contractions.useful for k in program.kernels)


def _check_tiles(tiles: object) -> None:
    fits = tiles is None or (
        isinstance(tiles, tuple) and len(tiles) == 2 and all(isinstance(n, int) and n > 0 and n & (n - 1) == 0 for n in tiles)
    )  # fmt: skip
    if not fits:
        raise ArgumentError(
            Diagnostic(f"tiles is {tiles!r}", help="two powers of two, (rows, stream): tiles=(64, 64)")
        )


def _formulas(request: Request, dtype: str, target: Device) -> Analysis:
    whole = combinations(request.cascade)
    masks = tuple(mask_formula(m, request.cascade, request.params) for m in (*request.cascade.masks, *whole))
    return Analysis(
        request.cascade.name, {}, dict(request.params), dtype, target.name, masks, None, None,
        ("no sizes are given: formulas only",),
    )  # fmt: skip


class _Account:
    def __init__(self, request: Request, dtype: str, target: Device) -> None:
        self.request, self.dtype, self.target = request, dtype, target
        cascade = request.cascade
        planned = plan(cascade, request.params, sizes=request.sizes)
        self.tensors = dict(request.tensors or {})
        self.sizes = complete_sizes(
            cascade,
            request.params,
            planned.whole,
            tiled_indices(cascade, request.params),
            request.sizes,
            self.tensors,
        )
        self._planned = plan(cascade, request.params, sizes=self.sizes)
        self.tf32 = torch.get_float32_matmul_precision() != "highest"

    def run(self) -> Analysis:
        cascade, request = self.request.cascade, self.request
        facts = facts_of(cascade, request.params, self.sizes, self.tensors)
        masks = tuple(account_mask(m, cascade, facts, request.params) for m in cascade.masks)
        forward = self.forward(request.tiles)
        backward = self.backward() if request.backward else None
        shown = {n: v for n, v in self.sizes.items() if not n.startswith("_")}
        return Analysis(
            cascade.name, shown, dict(request.params), self.dtype, self.target.name, masks, forward, backward,
            self._notes(), self._tilings,
        )  # fmt: skip

    def _notes(self) -> tuple[str, ...]:
        data = [
            i.name for i in self.request.cascade.inputs if i.dtype is not None and i.name not in self.tensors
        ]
        read = {n for s in self.request.cascade.statements for n in tensors_read(s.where)}
        needed = [n for n in data if n in read]
        if not needed:
            return ()
        return (f"masks depend on {', '.join(needed)}: give samples by tensors={{...}} for exact figures",)

    # programs

    def _lower(self, planned: ProgramPlan, tiles: tuple[int, int] | None) -> Lowering:
        return lower(planned, self._specialisation(planned, tiles))

    def _specialisation(self, planned: ProgramPlan, tiles: tuple[int, int] | None) -> Specialisation:
        return Specialisation(
            tuple((i.name, i.dtype or self.dtype) for i in planned.cascade.inputs),
            tuple((n, self.sizes[n]) for n in planned.whole),
            self.target.architecture,
            Schedule() if tiles is None else Schedule(row_tile=tiles[0], stream_tile=tiles[1]),
            "tf32" if self.tf32 else "ieee",
        )

    def lowered(self) -> tuple[Lowering, Facts]:
        """The forward pass before it is counted."""
        lowering = self._lower(self._planned, self.request.tiles)
        return lowering, facts_of(lowering.plan.cascade, self.request.params, self.sizes, self.tensors)

    def forward(self, tiles: tuple[int, int] | None) -> ProgramAccount:
        """The forward pass, with the schedule's own tiles or these."""
        return self._program(self._lower(self._planned, tiles), passes_as_written(self.request.cascade))

    def backward(self) -> ProgramAccount:
        """The backward cascade, by the same rules; sums over rows that torch finishes are left out."""
        passes = self._derived()
        for index in passes.cascade.indices:
            if index.name not in self.sizes:
                from attn_dsl.runtime.sizes import evaluate_size

                size = evaluate_size(index.size, self.request.params, self.sizes)
                assert size is not None
                self.sizes[index.name] = size
        planned = plan(passes.cascade, self.request.params, passes.presences, self.sizes)
        return self._program(self._lower(planned, self.request.tiles), None)

    def _derived(self) -> Backward:
        from attn_dsl.differentiation import backward
        from attn_dsl.differentiation.reverse import differentiable_inputs
        from attn_dsl.planning.binding import bind

        cascade = bind(self.request.cascade, self._planned.params, {})
        return backward(cascade, differentiable_inputs(cascade), "f64" if self.dtype == "f64" else "f32")

    def _program(self, lowering: Lowering, written: int | None) -> ProgramAccount:
        cascade = lowering.plan.cascade
        facts = facts_of(cascade, self.request.params, self.sizes, self.tensors)
        dtypes = {i.name: i.dtype or self.dtype for i in cascade.inputs}
        dtypes |= {b.name: b.dtype for b in lowering.buffers}
        dtypes |= {s: "f32" for s in cascade.saved if s not in dtypes}
        on_cpu = self.target.architecture == "cpu"
        kernels = account_kernels(lowering, facts, dtypes, written, on_cpu=on_cpu)
        devices = (
            (self.target,) if on_cpu else (self.target, *(d for d in DEVICES.values() if d != self.target))
        )
        return ProgramAccount(kernels, tuple(roofline(kernels, d, tf32=self.tf32) for d in devices))

    def _tilings(self) -> tuple[Tiling, ...]:
        from attn_dsl.account.tilings import best_tilings

        cascade = self.request.cascade
        facts = facts_of(cascade, self.request.params, self.sizes, self.tensors)
        lowering = self._lower(self._planned, None)
        return best_tilings(lowering, replace(facts, cascade=lowering.plan.cascade))
