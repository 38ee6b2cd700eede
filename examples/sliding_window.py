"""Compile a mechanism from its file, call it, and compare it with what the file means."""

from pathlib import Path

import torch

import attn_dsl

FILE = Path(__file__).parent / "masks" / "sliding_window.attn"


def main() -> None:
    """Run sliding-window attention: on the GPU where there is one, else a small call in the interpreter."""
    device, n = ("cuda", 4096) if torch.cuda.is_available() else ("cpu", 200)
    attention = attn_dsl.compile(FILE, window=64)
    q = torch.randn(1, 8, n, 64, device=device, dtype=torch.bfloat16)  # eight query heads ...
    k, v = torch.randn(
        2, 1, 2, n, 64, device=device, dtype=torch.bfloat16
    )  # ... share two of keys and values

    result = attention(q, k, v)
    expected = attention.reference(q, k, v)
    print(f"{attention.name}: {tuple(result.shape)}, {result.dtype}")
    print(f"largest difference from the reference: {(result - expected).abs().max().item():.2g}")


if __name__ == "__main__":
    main()
