"""Declarations: params, inputs, indices, outputs, functions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attn_dsl.ir.cascade import Axis, Index, Input, Output, Param, anonymous_index
from attn_dsl.ir.dtypes import DTYPES, dtype_kind
from attn_dsl.ir.expr import Const, Expr, Span
from attn_dsl.ir.operators import FUNCTIONS
from attn_dsl.ir.walk import index_names, tensors_read
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import Bindings, Problem, suggestion
from attn_dsl.language.sizes import SIZES, resolve_sizes

if TYPE_CHECKING:
    from attn_dsl.language.resolve import Resolver

_PARAM_TYPES = {"int": int, "float": float, "bool": bool}
_RESERVED = FUNCTIONS | {
    "size",
    "detach",
    "default",
    "topk",
    "topp",
    "argsort",
    "argmax",
    "inf",
    "true",
    "false",
}


class Declarations:
    """Declares lines one by one; sizes of indices are resolved when all names are known."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.env = resolver.env
        self._sizes: list[s.IndexLine] = []

    def aliases(self, lines: list[s.Line]) -> None:
        """Note the names of composites, which hold in the whole file."""
        for line in lines:
            if isinstance(line, (s.InputLine, s.OutputLine)):
                for tensor in line.tensors:
                    for dimension in tensor.dimensions:
                        if dimension.alias is not None:
                            self.env.aliases.setdefault(dimension.alias, dimension.names)

    def declare_or_give_up(self, line: s.Line) -> None:
        """Enter one line; what it would have declared is not reported as missing if that fails."""
        if not self.resolver.attempt(lambda: self.declare(line)) and (name := getattr(line, "name", None)):
            self.env.failed.add(name)

    def declare(self, line: s.Line) -> None:
        """Enter one line into the environment."""
        env = self.env
        match line:
            case s.Attention(name=name):
                if self.resolver.name is not None:
                    raise Problem("a file declares one attention", line.span, "remove this line")
                self.resolver.name = name
            case s.ParamLine():
                self._free(line.name, line.span)
                env.params[line.name] = Param(
                    line.name, self._param_kind(line), self._param_default(line), line.span
                )
            case s.LetLine(name=name):
                self._free(name, line.span)
                env.lets[name] = line
            case s.MaskLine(name=name):
                self._free(name, line.span)
                env.masks[name] = line
            case s.ScalarDef(name=name, parameters=parameters):
                self._free(name, line.span)
                self._distinct(name, parameters, line.span)
                env.scalar_defs[name] = line
            case s.CascadeDef(name=name):
                self._free(name, line.span)
                self._cascade_def(line)
                env.cascade_defs[name] = line
            case s.IndexLine():
                self._index_line(line)
            case s.InputLine():
                for tensor in line.tensors:
                    if not self.resolver.attempt(lambda tensor=tensor: self._input(tensor)):
                        env.failed.add(tensor.name)
            case s.OutputLine():
                for tensor in line.tensors:
                    self.resolver.attempt(lambda tensor=tensor: self._output(tensor))
            case s.Unread(names=names):
                env.failed |= names
            case s.Import() | s.Assignment():
                pass

    def _free(self, name: str, span: Span) -> None:
        """A name of the file's own may replace the prelude's, and nothing else."""
        if name in _RESERVED:
            raise Problem(f"'{name}' is a word of the language", span, "choose another name")
        env = self.env
        tables = (env.params, env.lets, env.masks, env.scalar_defs, env.cascade_defs, env.indices, env.inputs)
        for table in tables:
            node = table.get(name)
            if node is not None and node.span is not None and node.span.file == span.file:
                raise self._twice(name, node, span)
            if node is not None:
                table.pop(name, None)  # type: ignore[arg-type]
                env.hidden.add(name)

    def _twice(self, name: str, first: object, span: Span) -> Problem:
        where = getattr(first, "span", span).line
        if isinstance(first, Index):
            help = "rename one of them; a param or let that gives a size stands above the line that uses it"
            return Problem(f"'{name}' is an index since line {where}", span, help)
        return Problem(f"'{name}' is declared twice, first on line {where}", span, "rename one of them")

    def _distinct(self, function: str, names: tuple[str, ...], span: Span) -> None:
        twice = [name for at, name in enumerate(names) if name in names[:at]]
        if twice:
            raise Problem(f"'{function}' has two parameters '{twice[0]}'", span, "rename one of them")

    def _cascade_def(self, line: s.CascadeDef) -> None:
        self._distinct(line.name, (*line.over, *line.parameters), line.span)
        if not line.body or not isinstance(line.body[-1], s.Return):
            end = line.body[-1].span if line.body else line.span
            raise Problem(f"'{line.name}' returns nothing", end, "end it with 'return expression'")
        for part in line.body[:-1]:
            if isinstance(part, s.Return):
                raise Problem(f"'{line.name}' goes on after 'return'", part.span, "return once, at the end")

    def _param_kind(self, line: s.ParamLine) -> str:
        if line.kind not in _PARAM_TYPES:
            message = f"a param is int, float or bool, not '{line.kind}'"
            raise Problem(message, line.span, suggestion(line.kind, _PARAM_TYPES))
        return line.kind

    def _param_default(self, line: s.ParamLine) -> int | float | bool | None:
        if line.default is None:
            return None
        value = self._constant(line.default)
        if isinstance(value, bool) != (line.kind == "bool") or (
            line.kind == "int" and isinstance(value, float)
        ):
            examples = {"int": "4", "float": "0.5", "bool": "true or false"}
            raise Problem(f"the default of '{line.name}' is not of type {line.kind}", line.default.span,
                          f"write {examples[line.kind]}, or change the type")  # fmt: skip
        return float(value) if line.kind == "float" else value

    def _constant(self, term: s.Term) -> int | float | bool:
        match term:
            case s.Number(value=value):
                return value
            case s.Operation(name="neg", args=(s.Number(value=value),)):
                return -value
            case s.Name(text="true" | "True"):
                return True
            case s.Name(text="false" | "False"):
                return False
            case s.Name(text="inf"):
                return float("inf")
            case s.Operation(name="neg", args=(s.Name(text="inf"),)):
                return float("-inf")
            case _:
                raise Problem("the default of a param is a number, true or false", term.span,
                              "write the number out, or compute it with 'let'")  # fmt: skip

    def _index_line(self, line: s.IndexLine) -> None:
        self._check_index_name(line.name, line.span)
        first = next((other for other in self._sizes if other.name == line.name), None)
        if first is not None:
            raise Problem(f"index '{line.name}' has a size since line {first.span.line}", line.span,
                          "remove one of the lines")  # fmt: skip
        self.env.indices.setdefault(line.name, Index(line.name, span=line.span))
        self._sizes.append(line)

    def _check_index_name(self, name: str, span: Span) -> None:
        if not name[0].islower():
            raise Problem(f"an index is lower case, '{name}' is not", span, f"write {name.lower()}")
        if name in _RESERVED:
            raise Problem(f"'{name}' is a word of the language", span, "choose another name")
        env = self.env
        for table in (env.params, env.lets, env.masks, env.scalar_defs, env.cascade_defs):
            node = table.get(name)
            if node is not None and node.span is not None and node.span.file == span.file:
                raise self._twice(name, node, span)

    def _input(self, tensor: s.Tensor) -> None:
        self._free(tensor.name, tensor.span)
        known = self.resolver.attempt(lambda: self._dtype(tensor))
        dtype = tensor.dtype if known else None
        axes = tuple(self._axis(tensor, at, d) for at, d in enumerate(tensor.dimensions))
        declared = Input(tensor.name, axes, dtype, tensor.span)
        names = declared.dims
        if len(set(names)) != len(names):
            raise Problem(
                f"an index stands twice in '{tensor.name}'",
                tensor.span,
                "use '_' and read it at an expression",
            )
        self.env.inputs[tensor.name] = declared
        self.env.dims[tensor.name] = names
        self.env.kinds[tensor.name] = dtype_kind(dtype)

    def _dtype(self, tensor: s.Tensor) -> None:
        if tensor.dtype is not None and tensor.dtype not in DTYPES:
            raise Problem(f"there is no dtype '{tensor.dtype}'", tensor.span,
                          suggestion(tensor.dtype, DTYPES) or f"one of {' '.join(DTYPES)}")  # fmt: skip

    def _axis(self, tensor: s.Tensor, position: int, dimension: s.Dimension) -> Axis:
        if not dimension.names or self._is_size(dimension):
            name = anonymous_index(tensor.name, position)
            self.env.indices[name] = Index(name, self._fixed_size(dimension), span=dimension.span)
            return Axis((name,))
        names = dimension.names if dimension.group else self.env.members(dimension.names[0])
        self._check_alias(dimension)
        for name in names:
            self._check_index_name(name, dimension.span)
            self.env.indices.setdefault(name, Index(name, span=dimension.span))
        alias = dimension.alias or (dimension.names[0] if dimension.names[0] in self.env.aliases else None)
        return Axis(names, alias)

    def _check_alias(self, dimension: s.Dimension) -> None:
        """A composite's name is its own, and means the same members in the whole file."""
        alias, env = dimension.alias, self.env
        if alias is None:
            return
        self._check_index_name(alias, dimension.span)
        if env.aliases[alias] != dimension.names:
            raise Problem(f"'{alias}' names ({' '.join(env.aliases[alias])}) elsewhere", dimension.span,
                          "give this composite a name of its own")  # fmt: skip
        if any(alias in members for members in env.aliases.values()):
            raise Problem(f"'{alias}' is a member of a composite and cannot name one", dimension.span,
                          "choose another name")  # fmt: skip

    def _is_size(self, dimension: s.Dimension) -> bool:
        name = dimension.names[0]
        known = name in self.env.params or name in self.env.lets
        return not dimension.group and known and name not in self.env.indices

    def _fixed_size(self, dimension: s.Dimension) -> Expr | None:
        if dimension.size is not None:
            return Const(dimension.size, dimension.span)
        if dimension.names:
            terms, name = self.resolver.terms, dimension.names[0]
            size = terms.resolve(s.Name(name, dimension.span), Bindings())
            if tensors_read(size) or index_names(size):
                raise Problem(f"'{name}' is no size: it varies", dimension.span, SIZES)
            return terms.integer(replace(size, span=dimension.span), "the size of a dimension")
        return None

    def _output(self, tensor: s.Tensor) -> None:
        if tensor.name in self.env.outputs:
            raise Problem(f"output '{tensor.name}' is declared twice", tensor.span, "remove one")
        if tensor.name in self.env.inputs:
            raise Problem(f"'{tensor.name}' is an input, not a result", tensor.span,
                          "give the result a name of its own and define it")  # fmt: skip
        self._dtype(tensor)
        axes: list[Axis] = []
        for dimension in tensor.dimensions:
            self._check_alias(dimension)
            if not dimension.names:
                raise Problem("a dimension of an output is an index", dimension.span, "write its name")
            names = dimension.names if dimension.group else self.env.members(dimension.names[0])
            for name in names:
                self.env.check_index(name, dimension.span)
            axes.append(Axis(names, dimension.alias))
        self.env.outputs[tensor.name] = Output(tensor.name, tuple(axes), tensor.dtype, tensor.span)

    def finish(self) -> None:
        """Resolve the sizes of declared indices, and check that every index has one."""
        resolve_sizes(self.resolver, self._sizes)
