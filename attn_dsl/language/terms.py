"""Resolve expressions: names get their meaning, functions are inlined, masks and lets expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_dsl.ir.dtypes import DTYPES, Kind
from attn_dsl.ir.expr import (
    Cast,
    Const,
    Default,
    Detach,
    Expr,
    IndexVar,
    Member,
    Op,
    ParamRef,
    Read,
    Select,
    SizeOf,
    Span,
)
from attn_dsl.ir.kinds import kind_of
from attn_dsl.ir.operators import FUNCTIONS, OPERATORS
from attn_dsl.language import syntax as s
from attn_dsl.language.bounds import Growth
from attn_dsl.language.environment import (
    ELSEWHERE,
    FORMS_OF_CALL,
    RANKINGS,
    Bindings,
    Environment,
    Given,
    Problem,
    suggestion,
)

if TYPE_CHECKING:
    from attn_dsl.language.calls import CallSite

MAX_CALL_DEPTH = 30
MAX_RESOLVING = 140
_CONSTANTS: dict[str, float | bool] = {
    "inf": float("inf"),
    "true": True,
    "false": False,
    "True": True,
    "False": False,
}
_JOINS = {"bitand": "and", "bitor": "or"}
_BITS = {"shl", "shr", "bitand", "bitor", "bitxor"}


class TermResolver:
    """Expressions of one file. ``site`` is the statement whose functions are being inlined."""

    def __init__(self, environment: Environment) -> None:
        self.env = environment
        self.growth = Growth()
        self._depth = 0

    def kind(self, expr: Expr) -> Kind:
        """What its values are; those of a tensor whose statement was refused, real."""
        tensors, params = self.env.kinds, {n: p.kind for n, p in self.env.params.items()}
        return kind_of(expr, lambda name: tensors.get(name, Kind.REAL), params)

    def resolve(self, term: s.Term, bound: Bindings, site: CallSite | None = None) -> Expr:
        """The expression a term means."""
        span = bound.site or term.span
        if self._depth > MAX_RESOLVING:
            raise Problem(f"names and functions inside one another, more than {MAX_RESOLVING} deep", span,
                          "give a part of it a tensor of its own")  # fmt: skip
        self._depth += 1
        try:
            return self._resolve(term, span, bound, site)
        finally:
            self._depth -= 1

    def _resolve(self, term: s.Term, span: Span, bound: Bindings, site: CallSite | None) -> Expr:
        match term:
            case s.Number(value=value):
                return Const(value, span)
            case s.Name(text=name):
                return self._name(name, span, bound)
            case s.Subscript():
                return self._subscript(term, span, bound, site)
            case s.Call():
                return self._call(term, span, bound, site)
            case s.Operation(name=name, args=args):
                return self._operation(name, tuple(self.resolve(a, bound, site) for a in args), span)
            case s.Conditional(condition=c, then=a, otherwise=b):
                condition = self.boolean(self.resolve(c, bound, site), "the condition of 'if'")
                return Select(condition, self.resolve(a, bound, site), self.resolve(b, bound, site), span)
            case s.Membership(element=element, members=members):
                return self._membership(element, members, span, bound, site)

    def boolean(self, expr: Expr, what: str) -> Expr:
        """The expression, which must be a predicate."""
        if self.kind(expr) is not Kind.BOOLEAN:
            help = "compare it: x > 0"
            if (
                isinstance(expr, Op)
                and expr.name in _JOINS
                and all(self.kind(a) is Kind.BOOLEAN for a in expr.args)
            ):
                help = f"predicates are joined with '{_JOINS[expr.name]}'"
            raise Problem(f"{what} must be a predicate, this is a number", expr.span, help)
        return expr

    def integer(self, expr: Expr, what: str) -> Expr:
        """The expression, which must be an integer."""
        if self.kind(expr) is Kind.REAL:
            powers = "; a power is written '**'" if "'^'" in what else ""
            raise Problem(
                f"{what} must be an integer, this is real", expr.span, f"use '//', or a cast: i32(x){powers}"
            )
        return expr

    def _operation(self, name: str, args: tuple[Expr, ...], span: Span) -> Expr:
        if name in ("and", "or", "not"):
            for arg in args:
                self.boolean(arg, f"an operand of '{name}'")
        elif name in _BITS:
            for arg in args:
                self.integer(arg, f"an operand of '{OPERATORS[name].symbol}'")
        return Op(name, args, span)

    # names

    def _name(self, name: str, span: Span, bound: Bindings) -> Expr:
        env = self.env
        if name in bound.values:
            return bound.values[name]
        if name in bound.over:
            if len(bound.over[name]) > 1:
                raise Problem(f"'{name}' stands for several indices here and has no single value", span)
            return IndexVar(bound.over[name][0], span)
        if name in env.aliases:
            return self._composite(env.aliases[name], span)
        if name in env.indices:
            return IndexVar(name, span)
        if name in env.params:
            env.used.add(name)
            return ParamRef(name, span)
        if name in env.lets:
            env.used.add(name)
            return self._expand(name, env.lets[name].value, bound, span)
        if name in env.masks:
            env.used.add(name)
            return self.boolean(self._expand(name, env.masks[name].predicate, bound, span), "a mask")
        if name in _CONSTANTS:
            return Const(_CONSTANTS[name], span)
        if name in env.dims:
            return self._bare_tensor(name, span)
        raise self._unknown(name, span)

    def _bare_tensor(self, name: str, span: Span) -> Expr:
        if self.env.dims[name]:
            listed = ",".join(self.env.dims[name])
            raise Problem(f"tensor '{name}' is read without indices", span, f"write {name}[{listed}]")
        self.env.used.add(name)
        return Read(name, (), span)

    def _expand(self, name: str, term: s.Term, bound: Bindings, span: Span) -> Expr:
        if name in bound.active:
            raise Problem(f"'{name}' is defined by itself", span, "define one of them without the other")
        self.growth.inlined(span)
        inner = Bindings(site=bound.site, active=(*bound.active, name))
        return self.growth.check(self.resolve(term, inner), span)

    def _composite(self, members: tuple[str, ...], span: Span) -> Expr:
        value: Expr = IndexVar(members[0], span)
        for member in members[1:]:
            value = Op("add", (Op("mul", (value, SizeOf(member, span)), span), IndexVar(member, span)), span)
        return value

    def _unknown(self, name: str, span: Span, tensor: bool = False) -> Problem | Given:
        env = self.env
        if name in env.failed:
            return Given(name)
        if name in env.later:
            return self._too_early(name, span)
        what = env.kind_of_name(name)
        if what:
            call = what == "a function"
            help = f"call it: {FORMS_OF_CALL.get(name, name + '(...)')}" if call else f"write {name}"
            return Problem(f"'{name}' is {what}" + (", not a tensor" if tensor else ""), span, help)
        if tensor:
            help = f"a tensor is an input, or defined by a statement above: {name}[...] = ..."
            return Problem(
                f"'{name}' is not defined", span, suggestion(name, [*env.dims, *env.later]) or help
            )
        known = [*env.indices, *env.params, *env.lets, *env.masks, *env.dims]
        help = f"declare it: 'index {name} < ...', 'param {name}: float' or 'let {name} = ...'"
        return Problem(f"'{name}' is not defined", span, suggestion(name, known) or help)

    def _too_early(self, name: str, span: Span) -> Problem:
        line = self.env.later[name].line
        if span.line == line:
            help = "a statement reads what stands above it; a running sum is a sum 'where t <= i'"
            return Problem(f"'{name}' is defined by itself", span, help)
        if span.line > line:
            return Problem(f"'{name}' is computed", span, "only inputs can be read in a declaration")
        return Problem(
            f"'{name}' is used before it is defined", span, f"move it below line {line}, or line {line} up"
        )

    # reads

    def slots(
        self, terms: tuple[s.Term | None, ...], bound: Bindings, site: CallSite | None
    ) -> list[Expr | None]:
        """The expressions of a slot list; the name of a composite stands for its members."""
        found: list[Expr | None] = []
        for term in terms:
            if isinstance(term, s.Name) and term.text not in bound.values:
                names = bound.over.get(term.text) or self.env.aliases.get(term.text)
                if names:
                    found += [IndexVar(n, bound.site or term.span) for n in names]
                    continue
            if term is None:
                found.append(None)
                continue
            found.append(self.integer(self.resolve(term, bound, site), "a position in a tensor"))
        return found

    def _subscript(self, term: s.Subscript, span: Span, bound: Bindings, site: CallSite | None) -> Expr:
        if term.name in bound.values:
            raise Problem(f"'{term.name}' is a parameter here and takes no indices", span,
                          f"write {term.name}, and give the indices in the call")  # fmt: skip
        dims = self._tensor_dims(term, bound)
        indices = [e for e in self.slots(term.slots, bound, site) if e is not None]
        self._check_rank(term, len(indices), dims, span)
        return Read(term.name, tuple(indices), span)

    def _tensor_dims(self, term: s.Subscript, bound: Bindings) -> tuple[str, ...]:
        if term.name not in self.env.dims:
            raise self._unknown(term.name, bound.site or term.name_span, tensor=True)
        self.env.used.add(term.name)
        return self.env.dims[term.name]

    def _check_rank(self, term: s.Subscript, count: int, dims: tuple[str, ...], span: Span) -> None:
        if count != len(dims):
            listed = ",".join(d.lstrip("_") if not d.startswith("_") else "..." for d in dims)
            plural = "index" if len(dims) == 1 else "indices"
            raise Problem(
                f"'{term.name}' has {len(dims)} {plural}, {count} given", span, f"it is {term.name}[{listed}]"
            )

    def _membership(
        self, element: s.Term, members: s.Subscript, span: Span, bound: Bindings, site: CallSite | None
    ) -> Expr:
        dims = self._tensor_dims(members, bound)
        slots = self.slots(members.slots, bound, site)
        self._check_rank(members, len(slots), dims, span)
        if sum(slot is None for slot in slots) != 1:
            raise Problem("'in' looks along one ':' of the list", span, f"write c in {members.name}[...,:]")
        return Member(self.resolve(element, bound, site), members.name, tuple(slots), span)

    # calls

    def _call(self, term: s.Call, span: Span, bound: Bindings, site: CallSite | None) -> Expr:
        name = term.name
        if name == "size":
            return self._size(term, span, bound)
        if term.over is not None or name in self.env.cascade_defs:
            if name in RANKINGS:
                raise Problem(
                    f"'{name}' must be the whole right-hand side of '='", span, f"T[...] = {RANKINGS[name]}"
                )
            if site is None:
                raise Problem(
                    f"'{name}' reduces, which is possible only in a statement",
                    span,
                    "give it a tensor of its own",
                )
            self.growth.inlined(span)
            return self.growth.check(site.inline(term, span, bound), span)
        args = tuple(self.resolve(a, bound, site) for a in term.args)
        if name in self.env.scalar_defs:
            return self._inline_scalar(self.env.scalar_defs[name], args, span, bound)
        return self._builtin(term, args, span)

    def _builtin(self, term: s.Call, args: tuple[Expr, ...], span: Span) -> Expr:
        name = term.name
        operator = OPERATORS.get(name)
        if name in FUNCTIONS and operator is not None:
            check_count(name, operator.min_args, operator.max_args, len(args), span)
            return Op(name, args, span)
        if name == "detach":
            check_count(name, 1, 1, len(args), span)
            return Detach(args[0], span)
        if name == "default":
            check_count(name, 2, 2, len(args), span)
            return Default(args[0], args[1], span)
        if name in DTYPES:
            check_count(name, 1, 1, len(args), span)
            return Cast(name, args[0], span)
        raise self._no_function(term, span)

    def _no_function(self, term: s.Call, span: Span) -> Problem | Given:
        env, name = self.env, term.name
        if name in env.failed:
            return Given(name)
        what = env.kind_of_name(name)
        if what:
            listed = f"[{','.join(env.dims[name])}]" if what == "a tensor" and env.dims[name] else ""
            help = f"write {name}{listed}"
            if name in env.hidden:
                help = "it hides a function of the prelude: give it another name"
            return Problem(f"'{name}' is {what}, not a function", span, help)
        known = [*env.scalar_defs, *FUNCTIONS, *FORMS_OF_CALL, *env.cascade_defs]
        help = ELSEWHERE.get(name) or suggestion(name, known) or f"define it: def {name}(x) = ..."
        return Problem(f"there is no function '{name}'", span, help)

    def _size(self, term: s.Call, span: Span, bound: Bindings) -> Expr:
        arg = term.args[0] if len(term.args) == 1 else None
        if not isinstance(arg, s.Name):
            raise Problem("'size' takes the name of one index", span, "size(j)")
        given = bound.values.get(arg.text)
        if given is not None and not isinstance(given, IndexVar):
            raise Problem(f"'size' needs an index, '{arg.text}' stands for an expression here", span,
                          "give the function the index itself")  # fmt: skip
        names = (
            (given.name,)
            if isinstance(given, IndexVar)
            else bound.over.get(arg.text) or self.env.members(arg.text)
        )
        for name in names:
            self.env.check_index(name, span)
        total: Expr = SizeOf(names[0], span)
        for name in names[1:]:
            total = Op("mul", (total, SizeOf(name, span)), span)
        return total

    def _inline_scalar(
        self, function: s.ScalarDef, args: tuple[Expr, ...], span: Span, bound: Bindings
    ) -> Expr:
        check_arity(function.name, function.parameters, len(args), span)
        check_recursion(function.name, bound, span)
        inner = Bindings(
            dict(zip(function.parameters, args, strict=True)), {}, bound.site or span, bound.depth + 1,
            (*bound.active, function.name),
        )  # fmt: skip
        self.growth.inlined(span)
        try:
            return self.growth.check(self.resolve(function.value, inner), span)
        except Problem as problem:
            raise problem.inside(function.name, function.span, span) from None


def check_recursion(name: str, bound: Bindings, span: Span) -> None:
    """A function is inlined, so it cannot call itself, nor others without end."""
    if name in bound.active:
        raise Problem(f"'{name}' calls itself", span, "functions are inlined and cannot recurse")
    if bound.depth > MAX_CALL_DEPTH:
        raise Problem(f"functions inside functions, more than {MAX_CALL_DEPTH} deep", span,
                      "give a part of it a tensor of its own")  # fmt: skip


def check_arity(
    name: str, parameters: tuple[str, ...], count: int, span: Span, over: tuple[str, ...] = ()
) -> None:
    """A call gives as many arguments as the function has parameters."""
    brackets = f"[{', '.join(over)}]" if over else ""
    form = f"{name}{brackets}({', '.join(parameters)})"
    check_count(name, len(parameters), len(parameters), count, span, form)


def check_count(name: str, least: int, most: int | None, given: int, span: Span, form: str = "") -> None:
    """A call gives between ``least`` and ``most`` arguments."""
    if least <= given and (most is None or given <= most):
        return
    wanted = f"{least}" if most == least else f"{least} or more" if most is None else f"{least} to {most}"
    plural = "argument" if wanted == "1" else "arguments"
    help = form or FORMS_OF_CALL.get(name, f"{name}(x)")
    raise Problem(f"'{name}' takes {wanted} {plural}, {given} given", span, help)
