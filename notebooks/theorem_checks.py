# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Notebook: every step, checked
#
# The derivations in this book are a list of steps each, and each step says how it was checked. Here
# all checks are run, and the same checks on deliberately wrong constants, which must fail.
# `geomem verify` does the same on the command line; the page [](../book/verification.md) shows the
# table.
#
# ```{outcome} theorem_checks
# ```

# %% tags=["parameters"]
label: str = ""  # one statement only, by its label; empty: all of them

# %%
import json
from collections import Counter
from dataclasses import asdict

from geomem.companion import figures
from geomem.theorems import STATEMENTS, verify

chosen = [label] if label else list(STATEMENTS)
rows = [row for name in chosen for row in verify(STATEMENTS[name])]
steps = [row for row in rows if row.step > 0]
controls = [row for row in rows if row.step < 0]
kinds = Counter(row.kind for row in steps)
print(f"{len(chosen)} statements, {len(steps)} steps, {len(controls)} negative controls")
for kind, count in sorted(kinds.items()):
    print(f"{kind:18} {count}")

# %%
table = [{**asdict(row), "seconds": round(row.seconds, 1)} for row in rows]
figures.attach("checks.json", json.dumps(table, indent=1) + "\n")
figures.record(
    statements=str(len(chosen)),
    steps=str(len(steps)),
    controls=str(len(controls)),
    symbolic=str(kinds["symbolic"]),
    rigorous=str(kinds["rigorous numeric"]),
    simulated=str(kinds["simulated"]),
    words=str(kinds["in words"]),
)

# %% [markdown]
# ## What must hold

# %%
print(*(f"{row.statement} {row.step}: {row.detail}" for row in rows if not row.held), sep="\n")
figures.claim("every checked step holds", all(row.held for row in steps))
figures.claim("every control fails, as it must", all(row.held for row in controls))
