"""Compile kernels for a named architecture, with no GPU present, and read off what they use."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from attn_dsl.codegen.program import Argument, Kernel, Pointer
from attn_dsl.codegen.spelling import DTYPES
from attn_dsl.errors import Diagnostic, TargetError
from attn_dsl.runtime.cache import Entry
from attn_dsl.runtime.launch import import_source

_INSTRUCTIONS = {
    "wgmma": "wgmma.mma_async", "tma": "cp.async.bulk.tensor", "tcgen05": "tcgen05.mma", "mma": "mma.sync",
    "cp_async": "cp.async.c", "mfma": "v_mfma",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class KernelResources:
    """What a compiled kernel takes: registers a thread, bytes spilled a thread, bytes of shared memory a
    program, and which matrix and copy instructions occur in it."""

    kernel: str
    architecture: str
    registers: int
    spilled_bytes: int
    shared_bytes: int
    num_warps: int
    num_stages: int
    instructions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        used = ", ".join(self.instructions) or "no matrix instructions"
        return (
            f"{self.kernel} on {self.architecture}: {self.registers} registers, {self.spilled_bytes} bytes spilled, "
            f"{self.shared_bytes} bytes shared, {self.num_warps} warps, {used}"
        )


def lower(entry: Entry, architecture: str) -> tuple[KernelResources, ...]:
    """The resources of every kernel of an entry. TargetError with the compiler's words where it refuses."""
    module = import_source(entry)
    return tuple(_compile(getattr(module, k.name), k, architecture) for k in entry.program.kernels)


def assembly(entry: Entry, architecture: str) -> tuple[str, ...]:
    """The assembly of every kernel of an entry: PTX, or that of an AMD GPU."""
    module, target = import_source(entry), _target(architecture)
    form = "ptx" if target.backend == "cuda" else "amdgcn"
    return tuple(
        str(_built(getattr(module, k.name), k, architecture).asm[form]) for k in entry.program.kernels
    )


_KNOWN = "cuda:80, cuda:90, cuda:100 or hip:gfx942"


def require_known(architecture: str) -> None:
    """TargetError for an architecture that Triton has no compiler for."""
    target = _target(architecture)
    known = (
        target.arch in _capabilities()
        if target.backend == "cuda"
        else re.fullmatch(r"gfx(9|1\d)[0-9a-f]{2}", target.arch) is not None
    )
    if not known:
        raise TargetError(Diagnostic(f"Triton has no compiler for '{architecture}'", help=_KNOWN))


@lru_cache(maxsize=1)
def _capabilities() -> frozenset[int]:
    """What the assemblers that come with Triton say that they can."""
    said = [
        subprocess.run([str(_assembler(arch)), "--help"], capture_output=True, text=True, check=False).stdout
        for arch in (80, 100)
    ]
    return frozenset(int(n) for text in said for n in re.findall(r"\bsm_(\d+)", text))


def _assembler(arch: int) -> Path:
    import triton

    binaries = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    return binaries / ("ptxas-blackwell" if arch >= 100 else "ptxas")


def _target(architecture: str) -> Any:
    from triton.backends.compiler import GPUTarget

    vendor, _, name = architecture.partition(":")
    if vendor == "cuda" and name.isdigit():
        return GPUTarget("cuda", int(name), 32)
    if vendor == "hip" and name.startswith("gfx"):
        return GPUTarget("hip", name, 64 if name.startswith("gfx9") else 32)
    raise TargetError(Diagnostic(f"there is no architecture '{architecture}'", help=_KNOWN))


def _built(function: Any, kernel: Kernel, architecture: str) -> Any:
    """What Triton makes of a kernel."""
    import triton
    from triton.compiler import ASTSource

    constants = dict(kernel.constants)
    signature = {a.name: _type(a) for a in kernel.arguments} | dict.fromkeys(constants, "constexpr")
    attributes = {(at,): [["tt.divisibility", 16]] for at, a in enumerate(kernel.arguments) if _is_aligned(a)}
    source = ASTSource(function, signature=signature, constexprs=constants, attrs=attributes)
    try:
        return triton.compile(source, target=_target(architecture), options=kernel.options())
    except Exception as error:  # the compiler's own errors have no common base
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise TargetError(
            Diagnostic(f"Triton cannot compile {kernel.name} for {architecture}", notes=tuple(lines[-3:]))
        ) from error


def _compile(function: Any, kernel: Kernel, architecture: str) -> KernelResources:
    target = _target(architecture)
    compiled = _built(function, kernel, architecture)
    text = compiled.asm["ptx"] if target.backend == "cuda" else compiled.asm["amdgcn"]
    registers, spilled = _cuda_usage(text, target.arch) if target.backend == "cuda" else _amd_usage(text)
    found = tuple(name for name, word in _INSTRUCTIONS.items() if word in text)
    return KernelResources(
        kernel.name, architecture, registers, spilled, int(compiled.metadata.shared), kernel.num_warps,
        kernel.num_stages, found,
    )  # fmt: skip


def _type(argument: Argument) -> str:
    if isinstance(argument.source, Pointer):
        return "*" + DTYPES[argument.dtype].pointee
    return argument.dtype


def _is_aligned(argument: Argument) -> bool:
    """Pointers of fresh torch tensors are aligned; an aligned stride is told so only where it is."""
    return argument.aligned


def _cuda_usage(ptx: str, arch: int) -> tuple[int, int]:
    chip = f"sm_{arch}a" if arch >= 90 else f"sm_{arch}"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        done = subprocess.run(
            [str(_assembler(arch)), "-v", f"--gpu-name={chip}", str(file), "-o", str(file.with_suffix(".cubin"))],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    report = done.stdout + done.stderr
    if done.returncode:
        raise TargetError(
            Diagnostic(f"ptxas refuses the kernel for {chip}", notes=tuple(report.splitlines()[-3:]))
        )
    registers = re.search(r"Used (\d+) registers", report)
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", report)
    return int(registers.group(1)) if registers else 0, sum(map(int, spills))


def _amd_usage(assembly: str) -> tuple[int, int]:
    vector = re.search(r"\.vgpr_count:\s+(\d+)", assembly)
    spilled = re.search(r"\.vgpr_spill_count:\s+(\d+)", assembly)
    return (int(vector.group(1)) if vector else 0), 4 * (int(spilled.group(1)) if spilled else 0)
