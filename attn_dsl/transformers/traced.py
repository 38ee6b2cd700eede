"""Checks of a program that is traced (torch.compile, torch.export): operators that ask when it runs.

While a model is traced, its lengths may be unknown, and its padding and positions are. So the program gets an
operator that compares what the mask shows, a few rows of it, with what the file sees, and an assertion on the
answer:

    attn_dsl::sees_within(mask, mechanism, rows, keys, window) -> bool       is the file's within these rows of the mask?
    attn_dsl::sees_within_call(mechanism, rows, keys, causal, window, device) -> bool     within the arguments of the call?

On a CPU the operators themselves raise, with the row and the key; on a GPU nothing waits for the answer, and
the assertion fails there. An operator by itself would be dropped, as nothing uses its result.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from attn_dsl.errors import ArgumentError, Diagnostic
from attn_dsl.runtime.operators import NAMESPACE
from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.positions import checked_rows, keys_seen
from attn_dsl.transformers.within import require_hidden
from attn_dsl.transformers.within import require_within_call as require_now

_MECHANISMS: dict[str, Mechanism] = {}
_MARK = "_attn_dsl_checked"
_HELP = "hide it in the file, or take the model's mask; a call that is not compiled says which row and key"


def know(mechanism: Mechanism) -> None:
    """Let programs find a mechanism, and compute what a trace is not to go into."""
    _MECHANISMS[mechanism.key_of_checks] = mechanism
    _ = mechanism.counting, mechanism.scales_by_size, mechanism.guards


def mark(mask: Tensor) -> None:
    """Say of a mask that the program checks whether files keep it, so that they need not take it."""
    setattr(mask, _MARK, True)


def is_marked(mask: Tensor) -> bool:
    """Whether `mark` was said of it, and nothing done to it since."""
    return getattr(mask, _MARK, False) is True


def require(condition: Tensor, what: str, help: str) -> None:
    """Have the program fail where a condition on data does not hold."""
    message = f"{what}; {help}"  # in one line: torch.compile writes it into C++ as it is
    torch._assert_async(condition, message)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def require_within(mechanism: Mechanism, mask: Tensor, rows: int, keys: int, window: int | None) -> None:
    """Have the program check that the file sees no key that a mask hides, of the rows that are checked."""
    within = sees_within(mask, mechanism.key_of_checks, rows, keys, window)
    require(within, f"{mechanism.cascade.name} may see a key that the model's mask hides", _HELP)


def require_within_call(
    mechanism: Mechanism, rows: int, keys: int, causal: bool, window: int | None, device: torch.device
) -> None:
    """Have the program check that the file sees no key that the arguments of the call hide."""
    within = sees_within_call(mechanism.key_of_checks, rows, keys, causal, window, device)
    require(within, f"{mechanism.cascade.name} may see a key that the model hides", _HELP)


@torch.library.custom_op(f"{NAMESPACE}::sees_within", mutates_args=(), tags=(torch.Tag.cudagraph_unsafe,))
def sees_within(mask: Tensor, mechanism: str, rows: int, keys: int, window: int | None) -> Tensor:
    """Whether rows see no more than a mask shows them."""
    known = _known(mechanism)
    if mask.device.type == "cpu":
        require_hidden(known, mask, rows, keys, window)
        return torch.ones((), dtype=torch.bool)
    return ~(_seen(mechanism, rows, keys, window, mask.device) & ~mask).any()


@sees_within.register_fake
def _(mask: Tensor, mechanism: str, rows: int, keys: int, window: int | None) -> Tensor:
    return mask.new_empty((), dtype=torch.bool)


@torch.library.custom_op(f"{NAMESPACE}::sees_within_call", mutates_args=())
def sees_within_call(
    mechanism: str, rows: int, keys: int, causal: bool, window: int | None, device: torch.device
) -> Tensor:
    """Whether rows see no more than the arguments of a call say."""
    require_now(_known(mechanism), rows, keys, causal, window)
    return torch.ones((), dtype=torch.bool, device=device)


@sees_within_call.register_fake
def _(mechanism: str, rows: int, keys: int, causal: bool, window: int | None, device: torch.device) -> Tensor:
    return torch.empty((), dtype=torch.bool, device=device)


@lru_cache(maxsize=16)
def _seen(mechanism: str, rows: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """What the rows that are checked see, on a device: of a few lengths, so that nothing is copied at each
    call."""
    known = _known(mechanism)
    return keys_seen(known.guards, known.known_params(window), (rows, keys), checked_rows(rows)).to(device)


def _known(mechanism: str) -> Mechanism:
    if mechanism not in _MECHANISMS:
        help = "attn_dsl.transformers.register it, as where the program was made"
        raise ArgumentError(Diagnostic(f"no attention '{mechanism}' is registered", help=help))
    return _MECHANISMS[mechanism]
