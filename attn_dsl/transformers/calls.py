"""From the arguments of a model's attention to those of a file, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.import_utils import is_tracing

from attn_dsl.ir.cascade import Input, Param
from attn_dsl.runtime.attention import operands
from attn_dsl.runtime.operators import NAMESPACE
from attn_dsl.runtime.sizes import DTYPES, NAMES
from attn_dsl.transformers import traced
from attn_dsl.transformers.masks import (
    DECLARATIONS,
    KEEP,
    LENGTHS,
    MASK,
    MASKS,
    lengths_of,
    require_positions,
    whole_mask,
)
from attn_dsl.transformers.mechanism import Mechanism
from attn_dsl.transformers.within import Extent, default_pattern, require_within_call

# What models pass along for others than the attention: positions are in query and key already, and in the
# mask.
_FOR_OTHERS = frozenset(
    {
        "cache_position", "deterministic", "hidden_states", "logits_to_keep", "num_items_in_batch",
        "output_hidden_states", "output_router_logits", "past_key_values", "position_embeddings", "position_ids",
        "return_dict", "use_cache",
    }
)  # fmt: skip
_IN_THE_MASK = frozenset({"is_causal", "sliding_window"})
_SEED = "seed"
_HELP = {"output_attentions": "call the model without it: a kernel does not store the weights"}


def attention_interface(mechanism: Mechanism) -> Callable[..., tuple[Tensor, None]]:
    """What transformers calls as attention: [b, i, h, e] from query [b, h, i, d], key [b, g, j, d], value [b,
    g, j, e]."""

    @torch.compiler.assume_constant_result  # params are numbers, which torch.compile knows
    def operator(params: tuple[tuple[str, Any], ...]) -> str:
        return mechanism.attention(dict(params)).operator.name().removeprefix(f"{NAMESPACE}::")

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None,
        dropout: float = 0.0, scaling: float | None = None, **kwargs: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        offered = {**kwargs, "dropout": dropout, "scaling": scaling}
        _require_groups(mechanism, query, key)
        params = _params(mechanism, offered)
        others = (i for i in mechanism.extras if mechanism.model_name(i.name) not in MASKS)
        given = {i.name: _input(i, mechanism, module, offered, query) for i in others}
        _require_nothing_left(mechanism, offered, query.shape[-1])
        causal = kwargs.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        given |= _masks(mechanism, attention_mask, query, key, bool(causal), kwargs.get("sliding_window"))
        sizes = _sizes(mechanism, query, key)
        extras = [_fitted(i, given[i.name], sizes, query.dtype) for i in mechanism.extras]
        if torch.compiler.is_compiling():
            call = getattr(getattr(torch.ops, NAMESPACE), operator(tuple(params.items()))).default
            found = call(*operands(mechanism.cascade, (query, key, value, *extras)))
        else:
            found = mechanism.attention(params)(query, key, value, *extras)
        output: Tensor = found[0] if isinstance(found, tuple) else found
        return output.to(query.dtype).transpose(1, 2).contiguous(), None

    return attend


def _require_groups(mechanism: Mechanism, query: Tensor, key: Tensor) -> None:
    heads = mechanism.cascade.inputs[0].axes[1].indices
    if query.shape[1] != key.shape[1] and len(heads) == 1:
        what = f"the model has {query.shape[1]} query heads to {key.shape[1]} of keys, and {mechanism.cascade.name} as many"
        help = "input Q[b, (g r), i, d], K[b, g, j, d], V[b, g, j, e]: g groups of r query heads"
        raise mechanism.error(what, help, mechanism.cascade.inputs[0].span)


def _params(mechanism: Mechanism, offered: Mapping[str, Any]) -> dict[str, Any]:
    """The params of the file that the model gives, by their name in the file."""
    given: dict[str, Any] = {}
    for param in mechanism.cascade.params:
        name = mechanism.model_name(param.name)
        if name not in offered:
            continue
        value = offered[name]
        if value is not None and mechanism.params.get(param.name, value) != value:
            what = (
                f"'{param.name}' is registered as {mechanism.params[param.name]}, and the model gives {value}"
            )
            raise mechanism.error(what, "leave it to one of them", param.span)
        if value is not None:
            given[param.name] = value
        elif param.name not in mechanism.params:
            raise mechanism.error(
                f"the model gives {name}=None: it has none here", _for_none(param), param.span
            )
    return given


def _for_none(param: Param) -> str:
    return f"take a file without it, or register it with a value: register(..., {param.name}=...)"


def _input(
    declared: Input, mechanism: Mechanism, module: nn.Module, offered: Mapping[str, Any], query: Tensor
) -> Any:
    """An input beside the masks: given by the model, at the registration, or held by the model's attention
    module."""
    name = mechanism.model_name(declared.name)
    sources = {
        "the model": offered.get(name),
        "the registration": mechanism.constants.get(declared.name),
        f"a {type(module).__name__}": getattr(module, name, None),
    }
    found = {who: value for who, value in sources.items() if isinstance(value, Tensor | int | float)}
    value = next(iter(found.values()), None)
    if found and all(v is value for v in found.values()):
        return value.to(query.device) if isinstance(value, Tensor) else value
    if found:
        raise mechanism.error(
            f"'{declared.name}' is given by {' and by '.join(found)}", "give it once", declared.span
        )
    if name == _SEED:
        return torch.randint(2**31, ())
    what = f"the model gives no '{name}'"
    ways = f"register(..., {declared.name}=tensor), or an attribute '{name}' of the {type(module).__name__}"
    raise mechanism.error(what, f"{ways}; the model gives {', '.join(_given_names(offered))}", declared.span)


def _given_names(offered: Mapping[str, Any]) -> list[str]:
    return sorted(n for n, v in offered.items() if v is not None and n not in _FOR_OTHERS)


def _require_nothing_left(mechanism: Mechanism, offered: Mapping[str, Any], features: int) -> None:
    """ArgumentError for an argument that would change the result, and that nothing in the file takes."""
    cascade = mechanism.cascade
    taken = {mechanism.model_name(d.name) for d in (*mechanism.extras, *cascade.params)}
    for name, value in offered.items():
        if name in taken or name in _FOR_OTHERS or name in _IN_THE_MASK or value is None or value is False:
            continue
        if name == "dropout" and value == 0.0:
            continue
        if name == "scaling":
            _require_scale(mechanism, value, features)
            continue
        kind = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        what = f"the model gives {name}={kind}, which {cascade.name} does not take"
        raise mechanism.error(what, _HELP.get(name) or _declaration(name, value))


def _declaration(name: str, value: object) -> str:
    """How a file takes an argument of a model."""
    match value:
        case Tensor():
            axes = {"s_aux": "h", "position_bias": "_, h, i, j"}.get(name, ", ".join("_" * value.dim()))
            dtype = "" if value.is_floating_point() else f": {NAMES[value.dtype]}"
            declaration = f"input {name}[{axes}]{dtype}"
        case bool() | int() | float():
            declaration = f"param {name}: {type(value).__name__}"
        case _:
            return "call the model without it: it is neither a tensor nor a number"
    return f"declare {declaration}; under another name with takes={{'...': '{name}'}}"


def _require_scale(mechanism: Mechanism, scaling: float, features: int) -> None:
    own = features**-0.5 if mechanism.scales_by_size else 1.0
    if abs(scaling - own) > 1e-6 * own:
        name = mechanism.cascade.name
        done = "divides by sqrt(size(d))" if mechanism.scales_by_size else "does not scale by size(d)"
        what = f"the model scales by {scaling:.6g}, with {features} features, and {name} {done}"
        raise mechanism.error(what, "declare param scaling: float, and multiply the scores by it")


def _masks(
    mechanism: Mechanism, mask: Tensor | None, query: Tensor, key: Tensor, causal: bool, window: int | None
) -> dict[str, Tensor]:
    """The inputs that tell which keys count. ``mask``: what `mask_interface` gave, or a whole one of the
    user's."""
    offset = torch.sym_max(key.shape[2] - query.shape[2], 0)
    extent = Extent(query.shape[2], key.shape[2], offset, 0, query.shape[0], query.device)
    whole, keep, lengths = (mechanism.extra(n) for n in (MASK, KEEP, LENGTHS))
    if whole is not None:
        pattern = default_pattern(extent, causal, window)
        return {whole.name: whole_mask(whole, mask, pattern, extent, query.dtype, mechanism)}
    if mask is not None and traced.is_marked(mask):
        mask = None  # the program checks that the file keeps it
    if mask is None or mask.dim() == 2:
        require_positions(mechanism, extent)
        _require_within_call(mechanism, extent, causal, window)
    if mask is not None and (mask.dim() != 2 or (keep is None and lengths is None)):
        what = f"the model gives a mask of shape {tuple(mask.shape)}, which {mechanism.cascade.name} does not take"
        raise mechanism.error(what, f"declare input {DECLARATIONS}")
    if mask is None:
        mask = torch.ones((), dtype=torch.bool, device=query.device).expand(key.shape[0], key.shape[2])
    found: dict[str, Tensor] = {}
    if keep is not None:
        found[keep.name] = mask
    if lengths is not None:
        found[lengths.name] = lengths_of(mask, lengths, mechanism)
    return found


def _require_within_call(mechanism: Mechanism, extent: Extent, causal: bool, window: int | None) -> None:
    """That rows see no more than the arguments of the call say, which may be of another window than the mask
    was made for."""
    if is_tracing():
        traced.require_within_call(mechanism, extent.rows, extent.keys, causal, window, extent.device)
    else:
        require_within_call(mechanism, extent.rows, extent.keys, causal, window)


def _sizes(mechanism: Mechanism, query: Tensor, key: Tensor) -> dict[str, int]:
    """The sizes of the indices that query and key have."""
    q, k = mechanism.cascade.inputs[:2]
    axes = (*zip(k.axes, key.shape, strict=True), *zip(q.axes, query.shape, strict=True))
    sizes = {axis.indices[0]: n for axis, n in axes if len(axis.indices) == 1}
    heads = q.axes[1].indices
    if len(heads) == 2:
        for known, other in (heads, heads[::-1]):
            if known in sizes:
                sizes.setdefault(other, query.shape[1] // sizes[known])
    return sizes


def _fitted(declared: Input, value: Any, sizes: Mapping[str, int], dtype: torch.dtype) -> Any:
    """A tensor in the dtype that is declared, or the query's; without the axes, or repeated along those, that
    the file declares otherwise."""
    if not isinstance(value, Tensor):
        return value
    wanted = dtype if declared.dtype is None else DTYPES[declared.dtype]
    if value.is_floating_point() == wanted.is_floating_point or declared.dtype is not None:
        value = value.to(wanted)
    if value.dim() == 4 and len(declared.axes) == 3 and value.shape[1] == 1:
        value = value[:, 0]
    if value.dim() != len(declared.axes):
        return value  # which the call refuses by name
    extents = zip(declared.axes, value.shape, strict=True)
    return value.expand([_extent(axis.indices, sizes) if have == 1 else have for axis, have in extents])


def _extent(indices: tuple[str, ...], sizes: Mapping[str, int]) -> int:
    extent = 1  # math.prod is no function to torch.compile
    for index in indices:
        extent *= sizes.get(index, 1)
    return extent
