"""Declarations: params, inputs, indices, outputs, functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_dsl.ir.cascade import Axis, Index, Input, Output, Param, anonymous_index
from attn_dsl.ir.expr import Const, Expr, Read, Span
from attn_dsl.ir.operators import DTYPES, FUNCTIONS
from attn_dsl.ir.walk import tensors_read
from attn_dsl.language import syntax as s
from attn_dsl.language.environment import Bindings, Problem, suggestion
from attn_dsl.language.kinds import dtype_kind

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
                            self.env.aliases[dimension.alias] = dimension.names

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
            case s.ScalarDef(name=name):
                self._free(name, line.span)
                env.scalar_defs[name] = line
            case s.CascadeDef(name=name):
                self._free(name, line.span)
                env.cascade_defs[name] = line
            case s.IndexLine():
                self._index_line(line)
            case s.InputLine():
                for tensor in line.tensors:
                    self.resolver.attempt(lambda tensor=tensor: self._input(tensor))
            case s.OutputLine():
                for tensor in line.tensors:
                    self.resolver.attempt(lambda tensor=tensor: self._output(tensor))
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
                raise Problem(f"'{name}' is declared twice, first on line {node.span.line}", span)
            if node is not None:
                table.pop(name, None)  # type: ignore[arg-type]

    def _param_kind(self, line: s.ParamLine) -> str:
        if line.kind not in _PARAM_TYPES:
            raise Problem(f"a param is int, float or bool, not '{line.kind}'", line.span)
        return line.kind

    def _param_default(self, line: s.ParamLine) -> int | float | bool | None:
        if line.default is None:
            return None
        value = self._constant(line.default)
        if isinstance(value, bool) != (line.kind == "bool") or (
            line.kind == "int" and isinstance(value, float)
        ):
            raise Problem(f"the default of '{line.name}' is not of type {line.kind}", line.default.span)
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
                raise Problem("a default is a number, true or false", term.span)

    def _index_line(self, line: s.IndexLine) -> None:
        self._check_index_name(line.name, line.span)
        if line.name in self.env.indices and self.env.indices[line.name].size is not None:
            raise Problem(f"index '{line.name}' is declared twice", line.span)
        self.env.indices.setdefault(line.name, Index(line.name, span=line.span))
        self._sizes.append(line)

    def _check_index_name(self, name: str, span: Span) -> None:
        if not name[0].islower():
            raise Problem(f"an index is lower case, '{name}' is not", span, f"write {name.lower()}")
        if name in _RESERVED:
            raise Problem(f"'{name}' is a word of the language", span, "choose another name")

    def _input(self, tensor: s.Tensor) -> None:
        self._free(tensor.name, tensor.span)
        self._dtype(tensor)
        axes = tuple(self._axis(tensor, at, d) for at, d in enumerate(tensor.dimensions))
        declared = Input(tensor.name, axes, tensor.dtype, tensor.span)
        names = declared.dims
        if len(set(names)) != len(names):
            raise Problem(
                f"an index stands twice in '{tensor.name}'",
                tensor.span,
                "use '_' and read it at an expression",
            )
        self.env.inputs[tensor.name] = declared
        self.env.dims[tensor.name] = names
        self.env.kinds[tensor.name] = dtype_kind(tensor.dtype)

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
        for name in names:
            self._check_index_name(name, dimension.span)
            self.env.indices.setdefault(name, Index(name, span=dimension.span))
        alias = dimension.alias or (dimension.names[0] if dimension.names[0] in self.env.aliases else None)
        return Axis(names, alias)

    def _is_size(self, dimension: s.Dimension) -> bool:
        name = dimension.names[0]
        known = name in self.env.params or name in self.env.lets
        return not dimension.group and known and name not in self.env.indices

    def _fixed_size(self, dimension: s.Dimension) -> Expr | None:
        if dimension.size is not None:
            return Const(dimension.size, dimension.span)
        if dimension.names:
            return self.resolver.terms.resolve(s.Name(dimension.names[0], dimension.span), Bindings())
        return None

    def _output(self, tensor: s.Tensor) -> None:
        if tensor.name in self.env.outputs:
            raise Problem(f"output '{tensor.name}' is declared twice", tensor.span)
        self._dtype(tensor)
        axes: list[Axis] = []
        for dimension in tensor.dimensions:
            if not dimension.names:
                raise Problem("a dimension of an output is an index", dimension.span)
            names = dimension.names if dimension.group else self.env.members(dimension.names[0])
            for name in names:
                if name not in self.env.indices:
                    raise Problem(
                        f"'{name}' is not an index", dimension.span, suggestion(name, self.env.indices)
                    )
            axes.append(Axis(names, dimension.alias))
        self.env.outputs[tensor.name] = Output(tensor.name, tuple(axes), tensor.dtype, tensor.span)

    def finish(self) -> None:
        """Resolve the sizes of declared indices, and check that every index has one."""
        carried = {i for t in self.env.inputs.values() for i in t.dims}
        for line in self._sizes:
            self.resolver.attempt(lambda line=line: self._resolve_size(line, line.name in carried))
        for index in self.env.indices.values():
            if index.size is None and index.limit is None and index.name not in carried:
                self.resolver.problems.append(
                    Problem(
                        f"index '{index.name}' has no size", index.span, f"index {index.name} < ..."
                    ).diagnostic
                )

    def _resolve_size(self, line: s.IndexLine, carried: bool) -> None:
        terms = self.resolver.terms
        size = terms.integer(terms.resolve(line.size, Bindings()), "the size of an index")
        limited = isinstance(size, Read) or bool(tensors_read(size))
        self.env.indices[line.name] = Index(
            line.name, None if limited else size, size if limited else None, line.span
        )
