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
from geomem import companion
from geomem.companion.results import attach
from geomem.theorems import STATEMENTS
from geomem.theorems.statement import Checked

checked = Checked.of([STATEMENTS[name] for name in ([label] if label else STATEMENTS)])
companion.Table(checked.by_statement)

# %% [markdown]
# ## What must hold

# %%
for row in checked.failed:
    print(f"{row.statement} {row.part}: {row.detail} {row.found}")
companion.claim("steps-hold", "every check holds", all(row.held for row in checked.steps))
says = "every control fails, as it must"
companion.claim("controls-fail", says, all(row.held for row in checked.controls))

# %% tags=["remove-cell"]
attach("checks.json", checked.as_json)
companion.quote(**checked.in_words)
