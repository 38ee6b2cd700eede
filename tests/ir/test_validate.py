"""The validator finds each way in which a cascade can mean nothing, and nothing in what texts and derivatives
give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import attn_dsl
from attn_dsl.differentiation import backward, tangent
from attn_dsl.ir.cascade import Axis, Cascade, Einsum, Output, Reduction
from attn_dsl.ir.expr import Expr, IndexVar, Op, Read
from attn_dsl.ir.validate import MalformedCascadeError, cancelling_slots, faults, validated
from attn_dsl.language.load import load_text
from tests.examples.cases import CASES, EXAMPLES

TEXT = """attention small
input X[i,d], W[u,d]
E[i,d] = exp(X[i,d])
Y[i,d] += E[i - u, d] * W[u,d]
output Y[i,d]
"""
I, D, U = (IndexVar(n) for n in "idu")
SUM = Reduction.SUM


def small() -> Cascade:
    return load_text(TEXT).cascade


def changed(at: int, **fields: object) -> Cascade:
    """The small cascade with another statement."""
    cascade = small()
    statements = list(cascade.statements)
    statements[at] = replace(statements[at], **fields)  # pyright: ignore[reportArgumentType]
    return replace(cascade, statements=tuple(statements))


def read(tensor: str, *slots: Expr) -> Read:
    return Read(tensor, slots)


WRONG: dict[str, tuple[Callable[[], Cascade], str]] = {
    "an index twice": (lambda: changed(1, dims=("i", "i"), keys=(I, I)), "'i' stands in two slots"),
    "an index without declaration": (lambda: replace(small(), indices=small().indices[:2]), "is not declared"),
    "an index that nothing binds": (lambda: changed(1, over=()), "'u' is bound neither by the target nor by a sum"),
    "an index kept and summed": (lambda: changed(1, over=("u", "d")), "reduces 'd', which it keeps"),
    "an index summed twice": (lambda: changed(1, over=("u", "u")), "reduces 'u' twice"),
    "an unknown tensor": (lambda: changed(0, body=read("Z", I)), "'Z', which nothing defines"),
    "a slot too few": (lambda: changed(0, body=read("X", I)), "'X' at 1 slots, which has 2"),
    "itself": (lambda: changed(0, body=read("E", I, D)), "'E' before that is complete"),
    "a later tensor": (lambda: changed(0, body=read("Y", I, D)), "'Y' before that is complete"),
    "a sum without a reduction": (lambda: changed(1, reduce=None), "reduces nothing"),
    "two definitions": (
        lambda: replace(small(), statements=(*small().statements, small().statements[0])), "defined twice",
    ),
    "two reductions": (
        lambda: replace(
            small(), statements=(*small().statements, changed(1, reduce=Reduction.MAX).statements[1])
        ),
        "reduce differently",
    ),
    "too few keys": (lambda: changed(1, keys=(I,)), "1 keys for 2 slots"),
    "an output of nothing": (
        lambda: replace(small(), outputs=(Output("Z", (Axis(("i",)),)),)), "nothing defines the output 'Z'",
    ),
    "an output of other indices": (
        lambda: replace(small(), outputs=(Output("Y", (Axis(("i",)), Axis(("u",)))),)), "other indices than its own",
    ),
    "an output twice": (lambda: replace(small(), outputs=small().outputs * 2), "output 'Y' is declared twice"),
    "a given tensor of no meaning": (lambda: replace(small(), saved=("Z",)), "'Z' is given, and means nothing"),
    "an input computed": (
        lambda: replace(small(), statements=(*small().statements, Einsum("X", ("i", "d"), (I, D), SUM, (), D))),
        "input 'X' is computed too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong(name: str) -> None:
    make, words = WRONG[name]
    assert any(words in fault for fault in faults(make()))
    with pytest.raises(MalformedCascadeError, match="small"):
        validated(make())


def test_a_captured_index_leaves_a_trace() -> None:
    slot = Op("neg", (Op("sub", (I, I)),))
    cascade = changed(1, body=read("W", slot, D), over=())
    assert faults(cascade) == []
    assert cancelling_slots(cascade) == ["'W' is read at opposite terms of 'i' in 'Y'"]


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_an_example(name: str) -> None:
    """They are validated as they are made; here, for traces as well."""
    cascade = attn_dsl.compile(EXAMPLES / f"{name}.attn", params=CASES[name].params).cascade
    assert faults(cascade) == []
    try:
        passes = backward(cascade)
        derived = (passes.forward, passes.cascade, passes.finish, tangent(cascade).cascade)
    except attn_dsl.NotLoweredError:
        return
    for found in derived:
        assert faults(found) == [] and cancelling_slots(found) == []
