"""What an account says: plain data, all of it counted. ``to_dict`` gives it for JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attn_dsl.account.live import Live
from attn_dsl.account.tiles import TileCount


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations, three ways: ``useful``, of live elements alone; ``executed``, of the tiles that are
    visited, padding included; ``dense``, of all elements, were there no mask."""

    useful: int
    executed: int
    dense: int

    def __add__(self, other: Operations) -> Operations:
        return Operations(
            self.useful + other.useful, self.executed + other.executed, self.dense + other.dense
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"useful": self.useful, "executed": self.executed, "dense": self.dense}


NOTHING = Operations(0, 0, 0)


@dataclass(frozen=True, slots=True)
class MaskAccount:
    """A named mask: its text, its live elements over its own ``indices``, and what its plan is, in words.
    ``formula``: live elements in terms of sizes and params, as sympy writes it, ``simple``: the same where it
    is a polynomial, and when it is; ``no_formula``: why there is none. All three empty where sizes were
    given."""

    name: str
    text: str
    indices: tuple[str, ...]
    live: Live | None
    closed_form: bool
    plan: str
    formula: str = ""
    simple: str = ""
    no_formula: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name, "text": self.text, "indices": list(self.indices),
            "live": None if self.live is None else self.live.to_dict(),
            "closed_form": self.closed_form, "plan": self.plan, "formula": self.formula, "simple": self.simple,
            "no_formula": self.no_formula,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class LoopAccount:
    """One loop over a stream: the elements that count, and the tiles visited for them. ``exact``: the tiles
    are those of the kernel; else at most these, since some bound is data that is not given."""

    stream: tuple[str, ...]
    plan: str
    closed_form: bool
    live: Live
    tiles: TileCount
    exact: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "stream": list(self.stream), "plan": self.plan, "closed_form": self.closed_form,
            "live": self.live.to_dict(), "tiles": self.tiles.to_dict(), "exact": self.exact,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Passes:
    """How often a kernel walks over its streams: ``written``, as the file says it; ``hoisted``, in normal
    form; ``count``, with folds, which is what runs. ``bound``: what dependency alone demands, were every fold
    possible. ``report``: the reductions of each pass, and why one waits."""

    written: int | None
    hoisted: int
    count: int
    bound: int
    report: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "written": self.written, "hoisted": self.hoisted, "count": self.count, "bound": self.bound,
            "report": self.report.splitlines(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class KernelAccount:
    """One launch. ``contractions`` and ``pointwise``: operations; ``unmasked``: those executed if every tile
    were visited; ``special``: those of the executed pointwise ones that are functions (exp, division).
    ``products``: executed operations of contractions by operands' dtype. ``read`` and ``written``: bytes of
    device memory by tensor, each element once; ``traffic``: bytes that programs load, each anew.
    ``footprint``: bytes alive in a program at once."""

    name: str
    rows: tuple[str, ...]
    stores: tuple[str, ...]
    programs: int
    row_tiles: Mapping[str, int]
    stream_tiles: Mapping[str, int]
    loops: tuple[LoopAccount, ...]
    passes: Passes
    contractions: Operations
    pointwise: Operations
    unmasked: int
    special: int
    products: Mapping[str, int]
    read: Mapping[str, int]
    written: Mapping[str, int]
    traffic: int
    footprint: int

    @property
    def bytes(self) -> int:
        """Bytes from and to device memory."""
        return sum(self.read.values()) + sum(self.written.values())

    @property
    def intensity(self) -> float:
        """Executed operations of contractions a byte."""
        return self.contractions.executed / self.bytes if self.bytes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name, "rows": list(self.rows), "stores": list(self.stores), "programs": self.programs,
            "row_tiles": dict(self.row_tiles), "stream_tiles": dict(self.stream_tiles),
            "loops": [loop.to_dict() for loop in self.loops], "passes": self.passes.to_dict(),
            "contractions": self.contractions.to_dict(), "pointwise": self.pointwise.to_dict(),
            "unmasked": self.unmasked, "special": self.special, "products": dict(self.products), "read": dict(self.read),
            "written": dict(self.written), "bytes": self.bytes, "traffic": self.traffic,
            "footprint": self.footprint, "intensity": self.intensity,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roofline:
    """The least seconds a device needs, by resource, and which of them it is. ``busy``: programs of the
    largest kernel for each of its processors; below one, some idle and the bound is out of reach."""

    device: str
    seconds: float
    bound: str
    parts: Mapping[str, float]
    busy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "device": self.device, "seconds": self.seconds, "bound": self.bound, "parts": dict(self.parts),
            "busy": self.busy,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProgramAccount:
    """All launches of one direction, forward or backward."""

    kernels: tuple[KernelAccount, ...]
    rooflines: tuple[Roofline, ...]

    @property
    def contractions(self) -> Operations:
        """Of all kernels."""
        return sum((k.contractions for k in self.kernels), NOTHING)

    @property
    def pointwise(self) -> Operations:
        """Of all kernels."""
        return sum((k.pointwise for k in self.kernels), NOTHING)

    @property
    def bytes(self) -> int:
        """Of all kernels."""
        return sum(k.bytes for k in self.kernels)

    @property
    def intensity(self) -> float:
        """Executed operations of contractions a byte of device memory."""
        return self.contractions.executed / self.bytes if self.bytes else 0.0

    @property
    def speedup(self) -> float:
        """Operations of all tiles over those of the visited ones: what is gained by the mask, over the same
        kernel without one."""
        executed = self.contractions.executed + self.pointwise.executed
        return sum(k.unmasked for k in self.kernels) / executed if executed else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kernels": [k.to_dict() for k in self.kernels], "contractions": self.contractions.to_dict(),
            "pointwise": self.pointwise.to_dict(), "bytes": self.bytes, "intensity": self.intensity,
            "speedup": self.speedup, "rooflines": [r.to_dict() for r in self.rooflines],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tiling:
    """One shape of tiles: rows x stream, and how many times less than dense it executes."""

    row_tile: int
    stream_tile: int
    tiles: TileCount
    speedup: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "row_tile": self.row_tile, "stream_tile": self.stream_tile, "tiles": self.tiles.to_dict(),
            "speedup": self.speedup,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Analysis:
    """The account of a mechanism's costs at some sizes. Without sizes only ``masks``, with their formulas."""

    name: str
    sizes: Mapping[str, int]
    params: Mapping[str, int | float | bool]
    dtype: str
    device: str
    masks: tuple[MaskAccount, ...]
    forward: ProgramAccount | None
    backward: ProgramAccount | None
    notes: tuple[str, ...] = ()
    _tilings: Callable[[], tuple[Tiling, ...]] | None = field(default=None, repr=False, compare=False)

    def best_tiles(self) -> tuple[Tiling, ...]:
        """For every area of a tile, from 256 elements to 65,536, the shape in powers of two that executes
        least, by counting the tiles of the main loop of the forward pass; the least area first. (NATTEN's
        simulator does this for neighbourhoods.)"""
        return () if self._tilings is None else self._tilings()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name, "sizes": dict(self.sizes), "params": dict(self.params), "dtype": self.dtype,
            "device": self.device, "masks": [m.to_dict() for m in self.masks],
            "forward": None if self.forward is None else self.forward.to_dict(),
            "backward": None if self.backward is None else self.backward.to_dict(), "notes": list(self.notes),
        }  # fmt: skip

    def __str__(self) -> str:
        from attn_dsl.account.text import describe

        return describe(self)
