"""How often must a kernel look at the keys? One pass for softmax in any dress; two where a nonlinearity wants
the sum."""

from pathlib import Path

from attn_dsl.cli.kernels import describe_kernels, passes

from attn_dsl.language.load import load_file

NORMALISERS = Path(__file__).parent / "normalisers"


def main() -> None:
    """Print the passes of four normalisers and why a fold failed."""
    for name in ("softmax_one", "entropy", "entropy_of_weights", "softplus_reweighted"):
        cascade = load_file(NORMALISERS / f"{name}.attn").cascade
        defaults = {param.name: param.default for param in cascade.params if param.default is not None}
        print(f"--- {name}\n{describe_kernels(cascade, defaults, passes)}\n")


if __name__ == "__main__":
    main()
