"""Gradients against their meaning: the rule that derives them, and the kernels that compute them, each by
itself.

The rule: the backward cascade, evaluated by the reference in f64, gives what autograd gives through the
reference. The kernels: what a call's backward pass gives is within the bounds that running error analysis
derives for that cascade, with the outputs it reads rounded to the type in which they were stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attn_dsl.differentiation import Backward, backward
from attn_dsl.errors import AttnError
from attn_dsl.ir.cascade import Cascade, Einsum, Index, Statement
from attn_dsl.ir.dtypes import is_float, width
from attn_dsl.ir.expr import Cast, Expr, IndexVar, Read
from attn_dsl.ir.walk import transform
from attn_dsl.planning.binding import bind as bind_params
from attn_dsl.planning.binding import launch_params
from attn_dsl.reference import evaluate
from attn_dsl.rewrites.definitions import fresh_name, map_expressions
from attn_dsl.runtime.sizes import NAMES, bind, evaluate_size
from attn_dsl.testing.adjoints import adjoints
from attn_dsl.testing.checking import Verdict
from attn_dsl.testing.choices import Choices, replay
from attn_dsl.testing.rounding import Bounded, bounded_results
from attn_dsl.testing.strategies import Example
from attn_dsl.testing.tolerance import compare

if TYPE_CHECKING:
    from attn_dsl.runtime.attention import Attention

# Two evaluations in f64 differ by no more than this of what kernels may be off, in f32 at best.
RULE = 1e-4
DIFFERENCES = 4  # elements of an argument at most


def judge_gradients(attention: Attention, example: Example, choices: Choices | None = None) -> Verdict:
    """Compare the gradients of all floating arguments, for random adjoints, with their meaning. ``choices``:
    how the adjoints lie in memory, and which outputs have none. NotLoweredError where a mechanism has
    none."""
    leaves = {
        n: t.detach().requires_grad_() if t.is_floating_point() else t for n, t in example.arguments.items()
    }
    wanted = {n: t for n, t in leaves.items() if t.requires_grad}
    try:
        outputs = attention(**leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sent = adjoints(outputs, choices or replay(()))
        given = [(o, a) for o, a in zip(outputs, sent, strict=True) if o.requires_grad and a is not None]
        if not given:
            return Verdict("")
        found = torch.autograd.grad(
            [o for o, _ in given], list(wanted.values()), [a for _, a in given], materialize_grads=True,
            allow_unused=True,
        )  # fmt: skip
    except AttnError:
        raise
    except Exception as error:  # noqa: BLE001  (a generated kernel may fail in any way)
        return Verdict(f"raised {type(error).__name__}: {error}")
    gradients = dict(zip(wanted, found, strict=True))
    expected = _meaning(attention, example.arguments, sent)
    derived = _bounds(attention, example.arguments, outputs, sent)
    settled = {
        n: _settled(attention, example.arguments, sent, n, t, derived[0].get(n)) for n, t in expected.items()
    }
    return _compared(gradients, settled, derived)


def _meaning(
    attention: Attention, arguments: Mapping[str, Tensor], sent: list[Tensor | None]
) -> dict[str, Tensor]:
    """By autograd, in f64."""
    exact = {
        n: t.detach().double().requires_grad_() if t.is_floating_point() else t for n, t in arguments.items()
    }
    cascade = attention.cascade
    sizes = bind(cascade, attention.params, (), dict(arguments)).sizes
    found = evaluate(cascade, attention.params, exact, sizes, torch.float64)
    wanted = {n: t for n, t in exact.items() if t.requires_grad}
    pairs = [(found[o.name], a) for o, a in zip(cascade.outputs, sent, strict=True)]
    pairs = [(o, a.double()) for o, a in pairs if o.requires_grad and a is not None]
    if not pairs:
        return {n: torch.zeros_like(t) for n, t in wanted.items()}
    gradients = torch.autograd.grad(
        [o for o, _ in pairs], list(wanted.values()), [a for _, a in pairs], materialize_grads=True,
        allow_unused=True,
    )  # fmt: skip
    return dict(zip(wanted, gradients, strict=True))


def _settled(
    attention: Attention, arguments: Mapping[str, Tensor], sent: list[Tensor | None], name: str, meant: Tensor,
    ruled: Tensor | None,
) -> Tensor:  # fmt: skip
    """A gradient by autograd, by differences where that is NaN and the rule is not: what a mask leaves out
    sends autograd 0 * inf. Of very many such elements the first."""
    if ruled is None:
        return meant
    ruled = ruled.reshape(meant.shape)
    open_places = (meant.isnan() & ruled.isfinite()).nonzero().tolist()
    if not open_places:
        return meant
    settled = torch.where(meant.isnan() & ruled.isfinite(), ruled, meant)
    finite = [p for p in open_places if bool(arguments[name][tuple(p)].isfinite())]
    for place in finite[:DIFFERENCES]:
        slope = _difference(attention, arguments, sent, name, tuple(place))
        if not abs(slope - float(ruled[tuple(place)])) <= 1e-3 * (1 + abs(slope)):
            settled[tuple(place)] = slope
    return settled


def _difference(
    attention: Attention, arguments: Mapping[str, Tensor], sent: list[Tensor | None], name: str, place: tuple[int, ...]
) -> float:  # fmt: skip
    """The slope of what is sent back along one element, in f64."""
    sizes = bind(attention.cascade, attention.params, (), dict(arguments)).sizes
    exact = {n: t.detach().double() if t.is_floating_point() else t for n, t in arguments.items()}
    step = 1e-5 * max(1.0, abs(float(exact[name][place])))

    def value(moved: float) -> float:
        given = exact[name].clone()
        given[place] += moved
        found = evaluate(attention.cascade, attention.params, {**exact, name: given}, sizes, torch.float64)
        pairs = zip(attention.cascade.outputs, sent, strict=True)
        sums = (found[o.name] * a.double() for o, a in pairs if a is not None)
        return sum(float(torch.where(s.isfinite(), s, 0).sum()) for s in sums)

    return (value(step) - value(-step)) / (2 * step)


def _bounds(
    attention: Attention,
    arguments: Mapping[str, Tensor],
    outputs: tuple[Tensor, ...],
    sent: list[Tensor | None],
) -> tuple[dict[str, Tensor], dict[str, Bounded]]:
    """What the rule says the gradients are, in f64; and what kernels may make of them."""
    at_launch = launch_params(attention.cascade)
    fixed = {n: v for n, v in attention.params.items() if n not in at_launch}
    wanted = tuple(n for n, t in arguments.items() if t.is_floating_point())
    passes = backward(bind_params(attention.cascade, fixed, {}), wanted, "f32")
    whole = one_cascade(passes)
    names = [o.name for o in attention.cascade.outputs]
    seeds = {
        passes.seeds[n]: torch.zeros_like(o) if a is None else a
        for n, o, a in zip(names, outputs, sent, strict=True)
        if n in passes.seeds
    }
    given = {**{n: t.detach() for n, t in arguments.items()}, **seeds}
    sizes = dict(bind(attention.cascade, attention.params, (), dict(arguments)).sizes)
    for index in whole.indices:
        if index.name not in sizes:
            size = evaluate_size(index.size, attention.params, sizes)
            assert size is not None
            sizes[index.name] = size
    exact = evaluate(whole, attention.params, given, sizes, torch.float64)
    stored = {n: NAMES[o.dtype] for n, o in zip(names, outputs, strict=True) if n in passes.kept}
    bounded = bounded_results(with_stored(whole, stored), attention.params, given, sizes)
    gradient = passes.gradients
    return {n: exact[t] for n, t in gradient.items()}, {n: bounded[t] for n, t in gradient.items()}


def one_cascade(passes: Backward) -> Cascade:
    """The backward pass from its beginning to its end, with all it keeps computed anew."""
    first, last = passes.cascade, passes.finish
    finished = {o.name for o in last.outputs}
    wanted = set(passes.gradients.values())
    indices: dict[str, Index] = {i.name: i for i in (*first.indices, *last.indices)}
    return replace(
        first,
        indices=tuple(indices.values()),
        statements=(*first.statements, *(_by_dims(s, first) for s in last.statements)),
        outputs=(*(o for o in first.outputs if o.name in wanted - finished), *last.outputs),
        saved=(),
    )


def _by_dims(statement: Statement, first: Cascade) -> Statement:
    """A statement of the end, which reads results of the beginning as they are laid out, reading them as they
    are defined."""
    laid_out = {o.name: [i for axis in o.axes for i in axis.indices] for o in first.outputs}
    dims = {s.target: s.dims for s in first.statements}

    def rule(expr: Expr) -> Expr:
        if not isinstance(expr, Read) or expr.tensor not in laid_out:
            return expr
        slots = dict(zip(laid_out[expr.tensor], expr.indices, strict=True))
        return replace(expr, indices=tuple(slots[d] for d in dims[expr.tensor]))

    return map_expressions(statement, lambda expr: transform(expr, rule))


def with_stored(cascade: Cascade, dtypes: Mapping[str, str]) -> Cascade:
    """The cascade in which computed tensors are read as they were stored, rounded to these dtypes."""
    rounded = {n: d for n, d in dtypes.items() if is_float(d) and width(d) < 4}
    names = {n: fresh_name(cascade, f"{n}_unrounded") for n in rounded}
    statements: list[Statement] = []
    for at, statement in enumerate(cascade.statements):
        target = statement.target
        if target not in rounded:
            statements.append(statement)
            continue
        statements.append(replace(statement, target=names[target]))
        if any(s.target == target for s in cascade.statements[at + 1 :]):
            continue  # its last contribution is to come
        keys = tuple(IndexVar(d) for d in statement.dims)
        body = Cast(rounded[target], Read(names[target], keys))
        statements.append(Einsum(target, statement.dims, keys, None, (), body))
    return replace(cascade, statements=tuple(statements))


def _compared(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], derived: tuple[dict[str, Tensor], dict[str, Bounded]]
) -> Verdict:  # fmt: skip
    elements = unjudged = 0
    exact, bounded = derived
    for name, gradient in found.items():
        meant = expected[name]
        ruled = exact[name].reshape(meant.shape) if name in exact else torch.zeros_like(meant)
        none = Bounded(torch.zeros_like(meant), torch.zeros_like(meant))
        bound = bounded.get(name, none)
        bound = Bounded(bound.value.reshape(meant.shape), bound.error.reshape(meant.shape))
        if wrong := _apart(ruled, meant, bound.error * (RULE if gradient.dtype != torch.float64 else 1)):
            return Verdict(f"the rule for the gradient of {name} {wrong}")
        if gradient.shape != meant.shape:
            return Verdict(f"the gradient of {name} has shape {tuple(gradient.shape)}")
        comparison = compare(gradient, bound)
        if comparison.wrong:
            return Verdict(f"the gradient of {name}: {comparison}")
        elements, unjudged = elements + comparison.elements, unjudged + comparison.unjudged
    return Verdict("", elements, unjudged)


def _apart(ruled: Tensor, meant: Tensor, allowed: Tensor) -> str:
    """How two evaluations in f64 differ, empty where they do not."""
    same = (ruled == meant) | (ruled.isnan() & meant.isnan())
    wrong = ~(same | ((ruled - meant).abs() <= allowed + 1e-12 * meant.abs()) | allowed.isinf())
    if not bool(wrong.any()):
        return ""
    place = tuple(int(p) for p in wrong.nonzero()[0])
    return f"gives {float(ruled[place]):.8g} at {list(place)}, autograd {float(meant[place]):.8g}"
