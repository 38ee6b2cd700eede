"""lark's tree to the syntax tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attn_dsl.ir.expr import Span
from attn_dsl.language import syntax as s

_BINARY = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow", "<<": "shl",
    ">>": "shr", "&": "bitand", "|": "bitor", "^": "bitxor",
}  # fmt: skip
_COMPARE = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


class TreeBuilder:
    """Builds nodes of one logical statement; ``span`` turns offsets in it into spans of the file."""

    def __init__(self, span: Callable[[int, int], Span]) -> None:
        self._span = span

    def line(self, tree: Any) -> s.Line:
        """A whole statement."""
        span = self._of(tree)
        kids = tree.children
        match tree.data:
            case "attention":
                return s.Attention(str(kids[0]), span)
            case "import_":
                return s.Import(str(kids[0])[1:-1], span)
            case "param":
                return s.ParamLine(str(kids[0]), str(kids[1]), self._maybe(kids[2]), span)
            case "input_":
                return s.InputLine(tuple(map(self._tensor, kids)), span)
            case "output":
                return s.OutputLine(tuple(map(self._tensor, kids)), span)
            case "index":
                return s.IndexLine(str(kids[0]), self.term(kids[-1]), span)
            case "let":
                return s.LetLine(str(kids[0]), self.term(kids[1]), span)
            case "mask":
                return s.MaskLine(str(kids[0]), self.term(kids[1]), span)
            case "def_scalar":
                return s.ScalarDef(str(kids[0]), self._names(kids[1]), self.term(kids[2]), span)
            case "def_cascade":
                return self._cascade_def(kids, span)
            case _:
                return self._assignment(tree)

    def _cascade_def(self, kids: list[Any], span: Span) -> s.CascadeDef:
        body: list[s.Assignment | s.Return] = []
        for kid in kids[3:]:
            if kid is None or not hasattr(kid, "data"):
                continue
            if kid.data == "return_":
                body.append(s.Return(self.term(kid.children[0]), self._of(kid)))
            else:
                body.append(self._assignment(kid))
        return s.CascadeDef(str(kids[0]), self._names(kids[1]), self._names(kids[2]), tuple(body), span)

    def _assignment(self, tree: Any) -> s.Assignment:
        target, operator, body, *rest = tree.children
        slots = tuple(self.term(k) for k in target.children[1:] if k is not None)
        where = self._maybe(rest[0]) if rest else None
        return s.Assignment(
            str(target.children[0]), slots, str(operator)[:-1], self.term(body), where, self._of(tree),
            self._span(operator.start_pos, operator.end_pos),
        )  # fmt: skip

    def _names(self, tree: Any) -> tuple[str, ...]:
        return () if tree is None else tuple(str(k) for k in tree.children)

    def _tensor(self, tree: Any) -> s.Tensor:
        name, *dims, dtype = tree.children
        dimensions = tuple(self._dimension(d) for d in dims if d is not None)
        return s.Tensor(str(name), dimensions, None if dtype is None else str(dtype), self._of(tree))

    def _dimension(self, tree: Any) -> s.Dimension:
        names, span = tuple(str(k) for k in tree.children), self._of(tree)
        match tree.data:
            case "dim_name":
                return s.Dimension(names, False, None, None, span)
            case "dim_any":
                return s.Dimension((), False, None, None, span)
            case "dim_size":
                return s.Dimension((), False, None, int(names[0]), span)
            case "dim_group":
                return s.Dimension(names, True, None, None, span)
            case _:
                return s.Dimension(names[1:], True, names[0], None, span)

    def _maybe(self, tree: Any) -> s.Term | None:
        return None if tree is None else self.term(tree)

    def term(self, tree: Any) -> s.Term:
        """An expression."""
        span, kids = self._of(tree), tree.children
        match tree.data:
            case "integer":
                return s.Number(int(kids[0]), span)
            case "real":
                return s.Number(float(kids[0]), span)
            case "name":
                return s.Name(str(kids[0]), span)
            case "subscript":
                slots = () if kids[1] is None else self._terms(kids[1].children)
                return s.Subscript(str(kids[0]), slots, span, self._token(kids[0]))
            case "call":
                return s.Call(str(kids[0]), None, self._terms(kids[1:]), span, self._token(kids[0]))
            case "cascade_call":
                return self._cascade_call(tree, span)
            case "binary":
                return s.Operation(_BINARY[str(kids[1])], (self.term(kids[0]), self.term(kids[2])), span)
            case "unary_op":
                inner = self.term(kids[1])
                return inner if str(kids[0]) == "+" else s.Operation("neg", (inner,), span)
            case "not_op":
                return s.Operation("not", (self.term(kids[0]),), span)
            case "and_op" | "or_op":
                return s.Operation(tree.data[:-3], self._terms(kids), span)
            case "select":
                then, condition, otherwise = self._terms(kids)
                return s.Conditional(condition, then, otherwise, span)
            case "member_of":
                return self._membership(kids, span)
            case _:
                return self._comparison(kids, span)

    def _terms(self, trees: list[Any]) -> tuple[s.Term, ...]:
        return tuple(self.term(t) for t in trees if t is not None)

    def _cascade_call(self, tree: Any, span: Span) -> s.Call:
        name, over, *args = tree.children
        return s.Call(str(name), self._terms(over.children), self._terms(args), span, self._token(name))

    def _membership(self, kids: list[Any], span: Span) -> s.Membership:
        element, member = kids
        slots = tuple(None if k.data == "whole_slot" else self.term(k) for k in member.children[1:])
        name = member.children[0]
        return s.Membership(
            self.term(element), s.Subscript(str(name), slots, self._of(member), self._token(name)), span
        )

    def _comparison(self, kids: list[Any], span: Span) -> s.Term:
        links = [
            s.Operation(_COMPARE[str(kids[at])], (self.term(kids[at - 1]), self.term(kids[at + 1])), span)
            for at in range(1, len(kids), 2)
        ]
        chained: s.Term = links[0]
        for link in links[1:]:
            chained = s.Operation("and", (chained, link), span)
        return chained

    def _of(self, tree: Any) -> Span:
        return self._span(getattr(tree.meta, "start_pos", 0), getattr(tree.meta, "end_pos", 1))

    def _token(self, token: Any) -> Span:
        return self._span(token.start_pos, token.end_pos)
