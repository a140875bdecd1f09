"""The paper's statements as records: whose they are, their proofs in steps, and their checks.

One file per statement; `statement.py` says what a step and a check are.
"""

from geomem.theorems.statement import WHOSE, Result, Statement, Step, verify

__all__ = ["WHOSE", "Result", "Statement", "Step", "verify"]
