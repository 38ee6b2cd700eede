"""Syntax tree to cascade: declarations first, then the statements in order. All problems are collected."""

from __future__ import annotations

from collections.abc import Callable

from attn_dsl.errors import Diagnostic
from attn_dsl.ir.cascade import (
    Cascade,
    Einsum,
    Mask,
    Ranking,
    RankingKind,
    Reduction,
    Statement,
)
from attn_dsl.ir.expr import Expr, IndexVar, Span
from attn_dsl.ir.walk import index_names
from attn_dsl.language import syntax as s
from attn_dsl.language.calls import CallSite
from attn_dsl.language.declarations import Declarations
from attn_dsl.language.environment import RANKINGS, Bindings, Environment, Given, Problem
from attn_dsl.language.terms import TermResolver

_KINDS = {"": None, "+": Reduction.SUM, "*": Reduction.PRODUCT}


class Resolver:
    """Turns the lines of a file, and of the libraries in scope, into a cascade."""

    def __init__(self) -> None:
        self.env = Environment()
        self.terms = TermResolver(self.env)
        self.problems: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []
        self.name: str | None = None

    def attempt(self, action: Callable[[], None]) -> bool:
        """Run one step; a problem is noted and the rest goes on."""
        try:
            action()
        except Problem as problem:
            if problem.diagnostic not in self.problems:
                self.problems.append(problem.diagnostic)
            return False
        except Given:
            return False
        return True

    def library(self, lines: list[s.Line]) -> None:
        """Bring the definitions of a library into scope."""
        declarations = Declarations(self)
        for line in lines:
            if isinstance(line, (s.ScalarDef, s.CascadeDef, s.LetLine, s.MaskLine, s.ParamLine)):
                self.attempt(lambda line=line: declarations.declare(line))

    def file(self, lines: list[s.Line], where: Span) -> Cascade:
        """The cascade of a whole file; meaningful only if ``problems`` stays empty."""
        declarations = Declarations(self)
        declarations.aliases(lines)
        for line in lines:
            if not isinstance(line, s.Assignment):
                self.attempt(lambda line=line: declarations.declare(line))
        declarations.finish()
        assignments = [line for line in lines if isinstance(line, s.Assignment)]
        for line in assignments:
            self.env.later.setdefault(line.target, line.span)
            self.env.taken.add(line.target)
        self.env.taken |= set(self.env.inputs)
        for line in assignments:
            if not self.attempt(lambda line=line: self._statement(line)):
                self.env.failed.add(line.target)
        self._masks()
        self._outputs()
        if self.name is None and not self.problems:
            self.problems.append(
                Diagnostic("the file declares no attention", where, "begin it with: attention NAME")
            )
        self._unused()
        env = self.env
        return Cascade(
            self.name or "unnamed", tuple(env.params.values()), tuple(env.indices.values()),
            tuple(env.inputs.values()), tuple(env.statements), tuple(env.outputs.values()),
            tuple(env.resolved_masks),
        )  # fmt: skip

    # statements

    def _statement(self, line: s.Assignment) -> None:
        env = self.env
        if line.target in env.inputs:
            raise Problem(
                f"'{line.target}' is an input and cannot be defined", line.span, "choose another name"
            )
        dims, keys = self._target(line)
        site = CallSite(self.terms, line.target, dims)
        if isinstance(line.body, s.Call) and line.body.name in RANKINGS:
            self._add(self._ranking(line, line.body, dims, site))
            return
        body = self.terms.resolve(line.body, Bindings(), site)
        where = None
        if line.where is not None:
            where = self.terms.boolean(self.terms.resolve(line.where, Bindings(), site), "'where'")
        reduce = _KINDS[line.operator] if line.operator in _KINDS else Reduction(line.operator)
        left = {n for key in keys for n in index_names(key)}
        over = tuple(n for n in dict.fromkeys((*index_names(body), *index_names(where))) if n not in left)
        if reduce is None and over:
            raise self._only_on_right(line, over[0], body)
        self._check_redefinition(line, reduce, dims)
        for statement in site.emitted:
            env.statements.append(statement)
        self._add(Einsum(line.target, dims, keys, reduce, over, body, where, line.span))

    def _add(self, statement: Statement) -> None:
        env = self.env
        env.statements.append(statement)
        env.dims[statement.target] = statement.dims
        env.kinds[statement.target] = self._result_kind(statement)
        env.later.pop(statement.target, None)

    def _result_kind(self, statement: Statement) -> str:
        match statement:
            case Ranking(kind=RankingKind.TOPK | RankingKind.TOPP):
                return "boolean"
            case Ranking():
                return "integer"
            case Einsum(reduce=Reduction.ANY | Reduction.ALL):
                return "boolean"
            case Einsum(reduce=Reduction.MEAN):
                return "real"
            case Einsum(reduce=reduce, body=body):
                kind = self.terms.kind(body)
                return "integer" if reduce is not None and kind == "boolean" else kind

    def _target(self, line: s.Assignment) -> tuple[tuple[str, ...], tuple[Expr, ...]]:
        keys = tuple(e for e in self.terms.slots(line.slots, Bindings(), None) if e is not None)
        if all(isinstance(k, IndexVar) for k in keys):
            names = tuple(k.name for k in keys if isinstance(k, IndexVar))
            if len(set(names)) != len(names):
                raise Problem(f"an index stands twice in '{line.target}'", line.span)
            return names, keys
        declared = self.env.outputs.get(line.target)
        dims = self.env.dims.get(line.target)
        if dims is None and declared is not None:
            dims = tuple(i for axis in declared.axes for i in axis.indices)
        if dims is None or len(dims) != len(keys):
            raise Problem(
                f"'{line.target}' has a computed position, and its size is not declared", line.span,
                f"declare it: 'index o < ...' and 'output {line.target}[..., o]'",
            )  # fmt: skip
        return dims, keys

    def _ranking(self, line: s.Assignment, call: s.Call, dims: tuple[str, ...], site: CallSite) -> Ranking:
        kind = RankingKind(call.name)
        counted = kind in (RankingKind.TOPK, RankingKind.TOPP)
        if call.over is None or len(call.over) != 1 or len(call.args) != (2 if counted else 1):
            form = f"{call.name}[c](x, k)" if counted else f"{call.name}[j](x)"
            raise Problem(f"'{call.name}' is written {form}", call.span)
        if line.operator:
            raise Problem(f"'{call.name}' is assigned with '='", line.operator_span)
        over = call.over[0]
        if not isinstance(over, s.Name) or over.text not in self.env.indices:
            raise Problem(f"'{call.name}' compares along one index", over.span)
        body = self.terms.resolve(call.args[0], Bindings(), site)
        count = self.terms.resolve(call.args[1], Bindings(), site) if counted else None
        where = None
        if line.where is not None:
            where = self.terms.boolean(self.terms.resolve(line.where, Bindings(), site), "'where'")
        stray = [n for n in (*index_names(body), *index_names(where)) if n not in dims and n != over.text]
        if stray:
            raise Problem(f"index '{stray[0]}' stands only on the right of '='", call.span)
        if kind is not RankingKind.ARGMAX and over.text not in dims:
            raise Problem(f"the result of '{call.name}' keeps the index '{over.text}'", line.span)
        self.env.statements += site.emitted
        return Ranking(line.target, dims, kind, over.text, body, count, where, line.span)

    def _only_on_right(self, line: s.Assignment, index: str, body: Expr) -> Problem:
        from attn_dsl.ir.walk import walk

        at = next((n.span for n in walk(body) if isinstance(n, IndexVar) and n.name == index), line.span)
        return Problem(f"index '{index}' stands only on the right of '='", at, "'+=' sums over it")

    def _check_redefinition(
        self, line: s.Assignment, reduce: Reduction | None, dims: tuple[str, ...]
    ) -> None:
        before = [e for e in self.env.statements if e.target == line.target]
        if not before:
            return
        first = before[0]
        line_number = first.span.line if first.span else 0
        if reduce is None or not isinstance(first, Einsum) or first.reduce is None:
            raise Problem(f"'{line.target}' is defined twice, first on line {line_number}", line.span,
                          "several reductions with one operator add up; '=' stands alone")  # fmt: skip
        if first.reduce is not reduce:
            raise Problem(f"'{line.target}' is reduced with '{first.reduce.value}=' on line {line_number} and with "
                          f"'{reduce.value}=' here", line.span, "contributions share one operator")  # fmt: skip
        if first.dims != dims:
            raise Problem(
                f"'{line.target}' has the indices [{','.join(first.dims)}] on line {line_number}", line.span
            )

    # the rest of the file

    def _masks(self) -> None:
        for line in self.env.masks.values():
            if line.span.file.startswith("<library>"):
                continue

            def resolve(line: s.MaskLine = line) -> None:
                expr = self.terms.boolean(self.terms.resolve(line.predicate, Bindings()), "a mask")
                self.env.resolved_masks.append(Mask(line.name, expr, line.span))

            self.attempt(resolve)

    def _outputs(self) -> None:
        for output in self.env.outputs.values():
            dims = self.env.dims.get(output.name)
            laid_out = tuple(i for axis in output.axes for i in axis.indices)
            if output.name in self.env.failed:
                continue
            if dims is None:
                self.problems.append(Diagnostic(f"output '{output.name}' is never defined", output.span,
                                                f"add a statement {output.name}[...] = ..."))  # fmt: skip
            elif sorted(dims) != sorted(laid_out):
                self.problems.append(Diagnostic(f"output '{output.name}' has the indices [{','.join(dims)}]",
                                                output.span, "name the same indices here, in any order"))  # fmt: skip
        if not self.env.outputs and not self.problems:
            self.problems.append(Diagnostic("the file has no output", None, "add: output O[...]"))

    def _unused(self) -> None:
        masks = {n: line for n, line in self.env.masks.items() if not line.span.file.startswith("<library>")}
        for kind, declared in (("input", self.env.inputs), ("param", self.env.params), ("mask", masks)):
            for name, node in declared.items():
                if name not in self.env.used and node.span is not None:
                    self.warnings.append(
                        Diagnostic(
                            f"{kind} '{name}' is never used", node.span, "remove it", severity="warning"
                        )
                    )
