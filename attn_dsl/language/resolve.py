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
from attn_dsl.ir.expr import Expr, IndexVar, Read, Span
from attn_dsl.ir.kinds import statement_kind
from attn_dsl.ir.walk import index_names, walk
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
                declarations.declare_or_give_up(line)
        assignments = [line for line in lines if isinstance(line, s.Assignment)]
        for line in assignments:
            self.env.later.setdefault(line.target, line.span)
            self.env.taken.add(line.target)
        declarations.finish()
        self.env.taken |= set(self.env.inputs)
        for line in assignments:
            if not self.attempt(lambda line=line: self._statement(line)):
                self.env.failed.add(line.target)
        self._masks()
        self._outputs()
        self._complete(where, any(isinstance(line, s.OutputLine) for line in lines))
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
        where = self._where(line, site)
        reduce = _KINDS[line.operator] if line.operator in _KINDS else Reduction(line.operator)
        left = {n for key in keys for n in index_names(key)}
        over = tuple(n for n in dict.fromkeys((*index_names(body), *index_names(where))) if n not in left)
        if reduce is None and over:
            raise self._only_on_right(line, over[0], body)
        if reduce is None and any(not isinstance(key, IndexVar) for key in keys):
            raise Problem(f"'=' cannot send elements to computed positions of '{line.target}'", line.operator_span,
                          "several may meet in one place; say how they combine: '+=', 'max=', ...")  # fmt: skip
        if reduce is not None and reduce.rule.of_truths:
            self.terms.boolean(body, f"what '{reduce.value}=' reduces")
        self._check_redefinition(line, reduce, dims)
        for statement in site.emitted:
            env.statements.append(statement)
        self._add(Einsum(line.target, dims, keys, reduce, over, body, where, line.span))

    def _where(self, line: s.Assignment, site: CallSite) -> Expr | None:
        if line.where is None:
            return None
        guard = self.terms.resolve(line.where, Bindings(), site)
        return self.terms.growth.check(self.terms.boolean(guard, "'where'"), line.where.span)

    def _add(self, statement: Statement) -> None:
        env = self.env
        env.statements.append(statement)
        env.dims[statement.target] = statement.dims
        env.kinds[statement.target] = statement_kind(statement, self.terms.kind)
        env.later.pop(statement.target, None)

    def _target(self, line: s.Assignment) -> tuple[tuple[str, ...], tuple[Expr, ...]]:
        keys = tuple(e for e in self.terms.slots(line.slots, Bindings(), None) if e is not None)
        if all(isinstance(k, IndexVar) for k in keys):
            names = tuple(k.name for k in keys if isinstance(k, IndexVar))
            if len(set(names)) != len(names):
                raise Problem(f"an index stands twice in '{line.target}'", line.span,
                              "name them apart, and restrict: T[i,k] = ... where k == i")  # fmt: skip
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
        kind, form = RankingKind(call.name), RANKINGS[call.name]
        counted = kind in (RankingKind.TOPK, RankingKind.TOPP)
        if call.over is None or len(call.over) != 1 or len(call.args) != (2 if counted else 1):
            raise Problem(f"'{call.name}' is written {form}", call.span, f"{line.target}[...] = {form}")
        if line.operator:
            raise Problem(
                f"'{call.name}' is assigned with '='", line.operator_span, f"{line.target}[...] = {form}"
            )
        over = self._ranked_index(call, call.over[0])
        body = self.terms.resolve(call.args[0], Bindings(), site)
        count = self._count(kind, call.args[1], site) if counted else None
        where = self._where(line, site)
        self._check_ranked(line, call, dims, over, (body, where, count))
        self._check_redefinition(line, None, dims)
        self.env.statements += site.emitted
        return Ranking(line.target, dims, kind, over, body, count, where, line.span)

    def _ranked_index(self, call: s.Call, over: s.Term) -> str:
        if not isinstance(over, s.Name) or len(self.env.members(over.text)) != 1:
            raise Problem(f"'{call.name}' compares along one index", over.span, RANKINGS[call.name])
        name = self.env.members(over.text)[0]
        self.env.check_index(name, over.span)
        return name

    def _count(self, kind: RankingKind, term: s.Term, site: CallSite) -> Expr:
        count = self.terms.resolve(term, Bindings(), site)
        return self.terms.integer(count, "the count of 'topk'") if kind is RankingKind.TOPK else count

    def _check_ranked(
        self, line: s.Assignment, call: s.Call, dims: tuple[str, ...], over: str,
        parts: tuple[Expr | None, Expr | None, Expr | None],
    ) -> None:  # fmt: skip
        """The result has the indices of what is ranked; argmax alone drops the one it ranks along."""
        if any(not isinstance(slot, s.Name) for slot in line.slots):
            raise Problem(f"'{call.name}' writes to no computed position", line.span, "write plain indices")
        drops = call.name == RankingKind.ARGMAX.value
        if drops == (over in dims):
            rule = "does not have" if drops else "keeps"
            help = f"{'leave it out' if drops else 'write it'} on the left"
            raise Problem(f"the result of '{call.name}' {rule} the index '{over}'", line.span, help)
        body, where, count = parts
        ranked = {*dims, over}
        for expr, names in ((body, ranked), (where, ranked), (count, ranked - {over})):
            nodes = walk(expr) if expr is not None else ()
            stray = next((n for n in nodes if isinstance(n, IndexVar) and n.name not in names), None)
            if stray is not None:
                raise Problem(f"index '{stray.name}' stands only on the right of '='", stray.span,
                              "sum over it before, in a tensor of its own")  # fmt: skip

    def _only_on_right(self, line: s.Assignment, index: str, body: Expr) -> Problem:
        at = next((n.span for n in walk(body) if isinstance(n, IndexVar) and n.name == index), line.span)
        notes: tuple[str, ...] = ()
        if at is not None and not line.span.line <= at.line <= line.span.end_line:
            notes = (f"it comes from line {at.line}",)
            at = line.operator_span
        slots = {
            n for read in walk(body) if isinstance(read, Read) for s in read.indices for n in index_names(s)
        }
        help = f"'+=' sums over it: {line.target}[...] += ..."
        if index not in slots and not notes:
            help = f"its extent is size({index}); an index by itself is its value"
        return Problem(f"index '{index}' stands only on the right of '='", at, help, notes)  # fmt: skip

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
                f"'{line.target}' has the indices [{','.join(first.dims)}] on line {line_number}",
                line.span,
                "contributions have the same indices, in one order",
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

    def _complete(self, where: Span, has_output: bool) -> None:
        """An attention has a name and an output."""
        unread = self.env.failed
        if self.name is None and "attention" not in unread:
            self.problems.append(
                Diagnostic("the file declares no attention", where, "begin it with: attention NAME")
            )
        elif not has_output and "output" not in unread:
            self.problems.append(
                Diagnostic("the attention has no output", where, "end it with: output O[...]")
            )

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
