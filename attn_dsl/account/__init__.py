"""The account of costs: what a mechanism costs at given sizes and why, before any kernel runs.

    analyse : Request(cascade, params, sizes, ...) -> Analysis

Live elements are counted exactly from guards (`counting`), tiles by the kernels' own rules (`tiles`),
operations and bytes from the tile programs that the printers print (`work`), times from data sheets
(`devices`, `roofline`).
"""

from attn_dsl.account.analysis import Request, analyse
from attn_dsl.account.model import Analysis

__all__ = ["Analysis", "Request", "analyse"]
