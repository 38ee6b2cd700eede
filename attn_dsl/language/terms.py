"""Resolve expressions: names get their meaning, functions are inlined, masks and lets expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from attn_dsl.ir.operators import DTYPES, FUNCTIONS, OPERATORS
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import RANKINGS, Bindings, Environment, Given, Problem, suggestion
from attn_dsl.language.kinds import kind_of

if TYPE_CHECKING:
    from attn_dsl.language.calls import CallSite

MAX_CALL_DEPTH = 30
_CONSTANTS: dict[str, float | bool] = {
    "inf": float("inf"),
    "true": True,
    "false": False,
    "True": True,
    "False": False,
}
_BITS = {"shl", "shr", "bitand", "bitor", "bitxor"}


class TermResolver:
    """Expressions of one file. ``site`` is the statement whose functions are being inlined."""

    def __init__(self, environment: Environment) -> None:
        self.env = environment

    def kind(self, expr: Expr) -> str:
        """integer, real or boolean."""
        return kind_of(expr, self.env.kinds, {n: p.kind for n, p in self.env.params.items()})

    def resolve(self, term: s.Term, bound: Bindings, site: CallSite | None = None) -> Expr:
        """The expression a term means."""
        span = bound.site or term.span
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
        if self.kind(expr) != "boolean":
            raise Problem(f"{what} must be a predicate, this is a number", expr.span, "compare it: x > 0")
        return expr

    def integer(self, expr: Expr, what: str) -> Expr:
        """The expression, which must be an integer."""
        if self.kind(expr) == "real":
            raise Problem(
                f"{what} must be an integer, this is real", expr.span, "use '//', or a cast: i32(x)"
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
            raise Problem(f"'{name}' is defined by itself", span)
        return self.resolve(term, Bindings(site=bound.site, active=(*bound.active, name)))

    def _composite(self, members: tuple[str, ...], span: Span) -> Expr:
        value: Expr = IndexVar(members[0], span)
        for member in members[1:]:
            value = Op("add", (Op("mul", (value, SizeOf(member, span)), span), IndexVar(member, span)), span)
        return value

    def _unknown(self, name: str, span: Span) -> Problem | Given:
        env = self.env
        if name in env.failed:
            return Given(name)
        if name in env.later:
            line = env.later[name].line
            return Problem(
                f"'{name}' is used before it is defined",
                span,
                f"move it below line {line}, or line {line} up",
            )
        known = [*env.indices, *env.params, *env.lets, *env.masks, *env.dims, *env.scalar_defs, *FUNCTIONS]
        help = suggestion(name, known) or "an index comes from an input's dimensions or 'index NAME < size'"
        return Problem(f"'{name}' is not defined", span, help)

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
            raise Problem(
                f"'{term.name}' is a parameter here and takes no indices", span, f"write {term.name}"
            )
        dims = self._tensor_dims(term, bound)
        indices = [e for e in self.slots(term.slots, bound, site) if e is not None]
        self._check_rank(term, len(indices), dims, span)
        return Read(term.name, tuple(indices), span)

    def _tensor_dims(self, term: s.Subscript, bound: Bindings) -> tuple[str, ...]:
        if term.name not in self.env.dims:
            raise self._unknown(term.name, bound.site or term.name_span)
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
                    f"'{name}' must be the whole right-hand side of '='", span, f"T[...] = {name}[j](x)"
                )
            if site is None:
                raise Problem(
                    f"'{name}' reduces, which is possible only in a statement",
                    span,
                    "give it a tensor of its own",
                )
            return site.inline(term, span, bound)
        args = tuple(self.resolve(a, bound, site) for a in term.args)
        if name in self.env.scalar_defs:
            return self._inline_scalar(self.env.scalar_defs[name], args, span, bound)
        if name == "detach" and len(args) == 1:
            return Detach(args[0], span)
        if name == "default" and len(args) == 2:
            return Default(args[0], args[1], span)
        if name in DTYPES and len(args) == 1:
            return Cast(name, args[0], span)
        if name not in FUNCTIONS:
            known = [*self.env.scalar_defs, *FUNCTIONS, "size", "detach", "default", *self.env.cascade_defs]
            raise Problem(
                f"there is no function '{name}'", bound.site or term.name_span, suggestion(name, known)
            )
        return self._builtin(name, args, span)

    def _builtin(self, name: str, args: tuple[Expr, ...], span: Span) -> Expr:
        operator = OPERATORS[name]
        most = operator.max_args
        if len(args) < operator.min_args or (most is not None and len(args) > most):
            more = "" if most == operator.min_args else " or more" if most is None else f" to {most}"
            wanted = f"{operator.min_args}{more}"
            raise Problem(f"'{name}' takes {wanted} arguments, {len(args)} given", span)
        return Op(name, args, span)

    def _size(self, term: s.Call, span: Span, bound: Bindings) -> Expr:
        arg = term.args[0] if len(term.args) == 1 else None
        if not isinstance(arg, s.Name):
            raise Problem("'size' takes the name of one index", span, "size(j)")
        given = bound.values.get(arg.text)
        if given is not None and not isinstance(given, IndexVar):
            raise Problem(f"'size' needs an index, '{arg.text}' stands for an expression here", span)
        names = (
            (given.name,)
            if isinstance(given, IndexVar)
            else bound.over.get(arg.text) or self.env.members(arg.text)
        )
        for name in names:
            if name not in self.env.indices:
                raise Problem(f"'{name}' is not an index", span, suggestion(name, self.env.indices))
        total: Expr = SizeOf(names[0], span)
        for name in names[1:]:
            total = Op("mul", (total, SizeOf(name, span)), span)
        return total

    def _inline_scalar(
        self, function: s.ScalarDef, args: tuple[Expr, ...], span: Span, bound: Bindings
    ) -> Expr:
        check_arity(function.name, function.parameters, args, span)
        if function.name in bound.active or bound.depth > MAX_CALL_DEPTH:
            raise Problem(f"'{function.name}' calls itself", span, "functions are inlined and cannot recurse")
        inner = Bindings(
            dict(zip(function.parameters, args, strict=True)), {}, bound.site or span, bound.depth + 1,
            (*bound.active, function.name),
        )  # fmt: skip
        return self.resolve(function.value, inner)


def check_arity(name: str, parameters: tuple[str, ...], args: tuple[Expr, ...], span: Span) -> None:
    """A call gives as many arguments as the function has parameters."""
    if len(parameters) != len(args):
        raise Problem(
            f"'{name}' takes {len(parameters)} arguments, {len(args)} given",
            span,
            f"{name}({', '.join(parameters)})",
        )


__all__ = ["TermResolver", "check_arity"]
