"""Bad texts by chance: token soup, files of the examples with a few tokens spoilt, unicode, extremes."""

from __future__ import annotations

import random
import re
from pathlib import Path

FILES = tuple(
    path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parents[2].glob("examples/**/*.attn"))
)

_PIECE = re.compile(r"#.*|[A-Za-z0-9_]+|\s+|\*\*|//|<<|>>|[-+*<>=!]=|.")

_TOKENS = (
    "attention a\n", "input Q[b, i, d], K[b, j, d]\n", "output O[b, i]\n", "param n: int = 3\n", "index r < 8\n",
    "let m = 2\n", "mask near = i < j\n", "def f(x) = x + 1\n", "def g[j](x) { l += x; return x / l }\n",
    "input h=(g r)\n", "import \"a.attn\"\n", "O[b,i] += Q[b,i,d]\n", "T[b,i,j] = K[b,j,0] where i < j\n",
    "attention", "import", "param", "input", "output", "index", "let", "mask", "def", "return", "where", "and", "or",
    "not", "in", "if", "else", "size", "topk", "topp", "argsort", "argmax", "detach", "default", "softmax", "f32",
    "uniform", "max", "exp", "clamp", "inf", "true", "int", "float", "i32", "bf16", "Q", "K", "O", "T", "b", "i",
    "j", "d", "n", "m", "f", "g", "near", "x", "r", "0", "1", "2.5", "1e9", "7", "(", ")", "[", "]", "{", "}", ",",
    ",", ":", ";", "\n", "\n", " ", "=", "+=", "max=", "min=", "mean=", "any=", "all=", "*=", "==", "!=", "<", "<=",
    ">", ">=", "+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "|", "^", "_", "#", '"', "[j]", "[b,i,:]",
    "softmax[j](", "size(j)", "Q[b,i,d]", "K[b,j,d]", "(g r)",
)  # fmt: skip

_STRANGE = (
    "\0", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u00a0", "\ufeff", "\t", "\r", "\r\n", "é", "∑", "λ", "𝟙", "٣",
    "²", "'", "`", "~", "!", "@", "$", "?", "\\", ".", "...", "\ud800", "\U0010ffff", "e\u0301", "\u202e",
    "9" * 100, "1." + "0" * 100, "1e400", "1e-400", "." * 9, "x" * 100, "_x", "__class__", "0x1f", "1_000",
    "True", "None", "nan", "lambda", "{{", "}}", "{%", "%}", '"""',
)  # fmt: skip


def soup(chance: random.Random) -> str:
    """Tokens of the language in no order."""
    head = "attention a\ninput Q[b, i, d], K[b, j, d]\n" if chance.random() < 0.7 else ""
    spacer = chance.choice((" ", " ", ""))
    return head + spacer.join(chance.choice(_TOKENS) for _ in range(chance.randint(1, 60)))


def spoilt(chance: random.Random) -> str:
    """An example with a few tokens deleted, doubled, swapped or replaced."""
    pieces = _PIECE.findall(chance.choice(FILES))
    for _ in range(chance.randint(1, 4)):
        at, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
        match chance.randrange(6):
            case 0:
                pieces[at] = ""
            case 1:
                pieces[at] *= 2
            case 2:
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case 3:
                pieces[at] = pieces[other]
            case 4:
                pieces[at] = chance.choice(_TOKENS)
            case _:
                pieces[at] += chance.choice(_STRANGE)
    return "".join(pieces)


def shuffled(chance: random.Random) -> str:
    """The lines of two examples, shuffled or cut short."""
    lines = [line for _ in range(2) for line in chance.choice(FILES).split("\n")]
    chance.shuffle(lines)
    text = "\n".join(lines[: chance.randint(1, len(lines))])
    return text[: chance.randint(1, len(text) + 1)]


def renamed(chance: random.Random) -> str:
    """An example in which some names have become others of its own."""
    text = chance.choice(FILES)
    names = sorted(set(re.findall(r"\b[A-Za-z]\w*\b", text)))
    for _ in range(chance.randint(1, 3)):
        text = re.sub(rf"\b{chance.choice(names)}\b", chance.choice(names), text)
    return text


def unicode_noise(chance: random.Random) -> str:
    """Characters from anywhere."""
    return "".join(
        chance.choice(_STRANGE) if chance.random() < 0.3 else chr(chance.randrange(0x3000))
        for _ in range(chance.randint(0, 80))
    )


def extreme(chance: random.Random) -> str:
    """One construct, far too deep, long or often."""
    count = chance.choice((3, 40, 59, 61, 100, 160, 3_000, 20_000))
    expression = chance.choice((
        "(" * count + "1" + ")" * count,
        "Q[" * count + "0" + "]" * count,
        "exp(" * count + "1" + ")" * count,
        "f(" * count + "1" + ")" * count,
        "-" * count + "1",
        "+" * count + "1",
        "not " * count + "true",
        " + ".join("1" * count),
        " and ".join(["i < 2"] * count),
        " < ".join("i" * count),
        " ** ".join("2" * count),
        "1 if true else " * count + "2",
        "max(" + "1, " * count + "1)",
        "9" * count,
        "x" * count,
        "[" * count,
        "{" * count,
        "(" * count,
    ))  # fmt: skip
    statement = chance.choice(
        ("O[b,i] = {}", "O[b,i] += 1 where {}", "let q = {}", "O[{}] = 1", "index k < {}")
    )
    head = "attention a\ninput Q[b, i, d]\ndef f(x) = x + x\n"
    return head + statement.format(expression) + "\noutput O[b, i]\n"


KINDS = (soup, spoilt, spoilt, shuffled, renamed, unicode_noise, extreme)
