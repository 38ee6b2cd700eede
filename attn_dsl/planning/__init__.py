"""From a cascade to the plan of its program: what is computed by which kernel, and the part each index plays.

A plan knows the params that shape the code, and nothing of sizes, dtypes or a target. It is made once for a
cascade, and everything that asks what its kernels are takes it: code generation, the account, advice,
derivatives, the run time.
"""

from attn_dsl.planning.plan import KernelPlan, Plans, ProgramPlan, plan, plans

__all__ = ["KernelPlan", "Plans", "ProgramPlan", "plan", "plans"]
