# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
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

from geomem import companion
from geomem.companion.results import attach
from geomem.theorems import STATEMENTS, verify

chosen = [label] if label else list(STATEMENTS)
rows = [row for name in chosen for row in verify(STATEMENTS[name])]
steps, controls = [row for row in rows if row.step > 0], [row for row in rows if row.step < 0]
kinds = Counter(row.kind for row in steps)
companion.Table(
    {"how a step was checked": sorted(kinds), "steps": [kinds[k] for k in sorted(kinds)]}
)

# %% [markdown]
# ## What must hold

# %%
for row in rows:
    if not row.held:
        print(f"{row.statement} {row.step}: {row.detail}")
companion.claim("steps-hold", "every checked step holds", all(row.held for row in steps))
fail = all(row.held for row in controls)
companion.claim("controls-fail", "every control fails, as it must", fail)

# %% tags=["remove-cell"]
table = [{**asdict(row), "seconds": round(row.seconds, 1)} for row in rows]
attach("checks.json", json.dumps(table, indent=1) + "\n")
counts = {"statements": len(chosen), "steps": len(steps), "controls": len(controls)}
counts |= {"symbolic": kinds["symbolic"], "rigorous": kinds["rigorous numeric"]}
counts |= {"simulated": kinds["simulated"], "words": kinds["in words"]}
companion.quote(**{name: str(count) for name, count in counts.items()})
