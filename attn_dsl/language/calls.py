"""Inline cascade functions: ``P = softmax[j](X)`` becomes statements on P_m, P_w, P_l and a pointwise P."""

from __future__ import annotations

from dataclasses import dataclass, field

from attn_dsl.ir.cascade import Einsum, Reduction
from attn_dsl.ir.expr import Expr, IndexVar, Read, Span
from attn_dsl.ir.kinds import reduced_kind
from attn_dsl.ir.walk import index_names
from attn_dsl.language import syntax as s
from attn_dsl.language.bounds import MAX_STATEMENTS
from attn_dsl.language.environment import Bindings, Given, Problem, suggestion
from attn_dsl.language.terms import TermResolver, check_arity, check_recursion

# Leaves room for a number within the length a name may have.
_LONGEST_BASE = 58


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
            raise self._no_function(call, bound.site or call.name_span)
        if call.over is None:
            raise Problem(f"'{call.name}' needs the index it reduces", span, f"{call.name}[j](...)")
        check_recursion(call.name, bound, span)
        args = tuple(self.terms.resolve(a, bound, self) for a in call.args)
        check_arity(call.name, function.parameters, len(args), span, function.over)
        over = self._reduced(function, call, span, bound)
        try:
            return _Inlining(self, function, args, over, span, bound).run()
        except Problem as problem:
            raise problem.inside(function.name, function.span, span) from None

    def _no_function(self, call: s.Call, span: Span) -> Problem | Given:
        env, name = self.terms.env, call.name
        if name in env.failed:
            return Given(name)
        if env.kind_of_name(name) == "a function":
            return Problem(f"'{name}' reduces no index", span, f"without the brackets: {name}(...)")
        if env.kind_of_name(name):
            return Problem(f"'{name}' is {env.kind_of_name(name)}, not a function", span)
        help = (
            suggestion(name, env.cascade_defs) or f"define it: def {name}[j](x) {{ ...; return expression }}"
        )
        return Problem(f"there is no cascade function '{name}'", span, help)

    def _reduced(
        self, function: s.CascadeDef, call: s.Call, span: Span, bound: Bindings
    ) -> dict[str, tuple[str, ...]]:
        actual: list[tuple[str, ...]] = []
        for term in call.over or ():
            if not isinstance(term, s.Name):
                raise Problem("the brackets of a cascade function take indices", term.span, "softmax[j](x)")
            names = bound.over.get(term.text) or self.terms.env.members(term.text)
            for name in names:
                self.terms.env.check_index(name, bound.site or term.span)
            actual.append(names)
        formals = function.over
        if len(formals) == 1:
            return {formals[0]: tuple(n for names in actual for n in names)}
        if len(formals) != len(actual):
            raise Problem(f"'{function.name}' reduces {len(formals)} indices, {len(actual)} given", span,
                          f"{function.name}[{', '.join(formals)}]({', '.join(function.parameters)})")  # fmt: skip
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
        raise Problem(f"'{self.function.name}' returns nothing", self.span, "end it with 'return expression'")

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
        if len(env.statements) + len(self.site.emitted) > MAX_STATEMENTS:
            raise Problem(f"written out, this file has more than {MAX_STATEMENTS} statements", self.span,
                          "call fewer functions inside functions")  # fmt: skip
        env.dims[name] = dims
        env.kinds[name] = reduced_kind(reduce, terms.kind(body))
        env.used.add(name)
        self.bound.values[line.target] = Read(name, keys, self.span)

    def _pointwise_dims(self, depends: tuple[str, ...]) -> tuple[str, ...]:
        names = {*self.others, *depends}
        ordered = [n for n in self.site.order if n in names]
        return (*ordered, *(n for n in (*self.others, *depends) if n not in ordered))

    def _name(self, local: str, reduce: Reduction | None) -> str:
        if local in self.names:
            if reduce is None:
                raise Problem(f"'{local}' is defined twice in '{self.function.name}'", self.span,
                              "several reductions with one operator add up; '=' stands alone")  # fmt: skip
            return self.names[local]
        env = self.site.terms.env
        base = f"{self.site.target}_{local}"[:_LONGEST_BASE]
        name, number = base, 2
        while name in env.taken:
            name, number = f"{base}{number}", number + 1
        env.taken.add(name)
        self.names[local] = name
        return name
