"""The paper's statements as records: whose they are, their proofs in steps, and their checks.

One file per statement; `statement.py` says what a step and a check are.
"""

from geomem.theorems import (
    confidence,
    copies,
    counting,
    lemma_4_5,
    theorem_4_2_a,
    theorem_4_2_b,
    theorem_4_2_b_large,
    theorem_4_2_comparison,
    theorem_4_8,
    theorem_4_9,
    theorem_4_10,
    theorem_4_11,
    theorem_4_11_mmse,
    theorem_4_11_noisy,
    theorem_4_11_rate,
)
from geomem.theorems.statement import WHOSE, Result, Statement, Step, verify

STATEMENTS = {
    statement.label: statement
    for module in (
        theorem_4_2_a,
        theorem_4_2_b,
        theorem_4_2_b_large,
        theorem_4_2_comparison,
        counting,
        copies,
        lemma_4_5,
        theorem_4_8,
        confidence,
        theorem_4_9,
        theorem_4_10,
        theorem_4_11,
        theorem_4_11_rate,
        theorem_4_11_noisy,
        theorem_4_11_mmse,
    )
    for statement in module.STATEMENTS
}

__all__ = ["STATEMENTS", "WHOSE", "Result", "Statement", "Step", "verify"]
