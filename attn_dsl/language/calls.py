"""Inline cascade functions: ``P = softmax[j](X)`` becomes statements on P_m, P_w, P_l and a pointwise P."""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Expr, IndexVar, Read, Span
from attn_dsl.ir.walk import index_names
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import Bindings, Problem, suggestion
from attn_dsl.language.terms import MAX_CALL_DEPTH, TermResolver, check_arity


@dataclass(slots=True)
class CallSite:
    """The statement in which a cascade function is called: its locals are named after the target and their
    indices ordered as the target's. ``emitted``: the statements of the calls, to stand before it."""

    terms: TermResolver
    target: str
    order: tuple[str, ...]
    emitted: list[Einsum] = field(default_factory=list)

    def inline(self, call: s.Call, span: Span, bound: Bindings) -> Expr:
        """Emit the function's statements and give the expression it returns."""
        env = self.terms.env
        function = env.cascade_defs.get(call.name)
        if function is None:
            raise Problem(
                f"there is no cascade function '{call.name}'", bound.site or call.name_span,
                suggestion(call.name, env.cascade_defs),
            )  # fmt: skip
        if call.over is None:
            raise Problem(f"'{call.name}' needs the index it reduces", span, f"{call.name}[j](...)")
        if call.name in bound.active or bound.depth > MAX_CALL_DEPTH:
            raise Problem(f"'{call.name}' calls itself", span, "functions are inlined and cannot recurse")
        args = tuple(self.terms.resolve(a, bound, self) for a in call.args)
        check_arity(call.name, function.parameters, args, span)
        over = self._reduced(function, call, span, bound)
        return _Inlining(self, function, args, over, span, bound).run()

    def _reduced(
        self, function: s.CascadeDef, call: s.Call, span: Span, bound: Bindings
    ) -> dict[str, tuple[str, ...]]:
        actual: list[tuple[str, ...]] = []
        for term in call.over or ():
            if not isinstance(term, s.Name):
                raise Problem("the brackets of a cascade function take indices", term.span, "softmax[j](x)")
            names = bound.over.get(term.text) or self.terms.env.members(term.text)
            for name in names:
                if name not in self.terms.env.indices:
                    raise Problem(
                        f"'{name}' is not an index", term.span, suggestion(name, self.terms.env.indices)
                    )
            actual.append(names)
        formals = function.over
        if len(formals) == 1:
            return {formals[0]: tuple(n for names in actual for n in names)}
        if len(formals) != len(actual):
            raise Problem(f"'{function.name}' reduces {len(formals)} indices, {len(actual)} given", span)
        return dict(zip(formals, actual, strict=True))


class _Inlining:
    """One call: the parameters and locals of a cascade function, bound."""

    def __init__(
        self, site: CallSite, function: s.CascadeDef, args: tuple[Expr, ...],
        over: dict[str, tuple[str, ...]], span: Span, bound: Bindings,
    ) -> None:  # fmt: skip
        self.site, self.function, self.span = site, function, span
        self.reduced = tuple(n for names in over.values() for n in names)
        free = {n for a in args for n in index_names(a)} - set(self.reduced)
        ordered = [n for n in site.order if n in free]
        self.others = (*ordered, *sorted(free - set(ordered)))
        self.bound = Bindings(
            dict(zip(function.parameters, args, strict=True)), over, bound.site or span, bound.depth + 1,
            (*bound.active, function.name),
        )  # fmt: skip
        self.names: dict[str, str] = {}

    def run(self) -> Expr:
        for line in self.function.body:
            if isinstance(line, s.Return):
                return self.site.terms.resolve(line.value, self.bound, self.site)
            self._local(line)
        raise Problem(f"'{self.function.name}' returns nothing", self.span, "end it with 'return x'")

    def _local(self, line: s.Assignment) -> None:
        env, terms = self.site.terms.env, self.site.terms
        body = terms.resolve(line.body, self.bound, self.site)
        where = None
        if line.where is not None:
            where = terms.boolean(terms.resolve(line.where, self.bound, self.site), "'where'")
        free = {*index_names(body), *index_names(where)}
        depends = tuple(n for n in self.reduced if n in free)
        reduce = Reduction(line.operator) if line.operator else None
        dims = self.others if reduce is not None else self._pointwise_dims(depends)
        name = self._name(line.target, reduce)
        keys = tuple(IndexVar(d, self.span) for d in dims)
        statement = Einsum(name, dims, keys, reduce, depends if reduce else (), body, where, self.span)
        self.site.emitted.append(statement)
        env.dims[name] = dims
        env.kinds[name] = terms.kind(body) if reduce is not Reduction.MEAN else "real"
        env.used.add(name)
        self.bound.values[line.target] = Read(name, keys, self.span)

    def _pointwise_dims(self, depends: tuple[str, ...]) -> tuple[str, ...]:
        names = {*self.others, *depends}
        ordered = [n for n in self.site.order if n in names]
        return (*ordered, *(n for n in (*self.others, *depends) if n not in ordered))

    def _name(self, local: str, reduce: Reduction | None) -> str:
        if local in self.names:
            if reduce is None:
                raise Problem(f"'{local}' is defined twice in '{self.function.name}'", self.span)
            return self.names[local]
        env = self.site.terms.env
        base = f"{self.site.target}_{local}"
        name, number = base, 2
        while name in env.taken:
            name, number = f"{base}{number}", number + 1
        env.taken.add(name)
        self.names[local] = name
        return name
