"""Badges: whose a figure, a statement or a claim is, and what became of a claim.

They are told apart by their words; frames only repeat these.
"""

from __future__ import annotations

import html

EXPLAINED = "book/intro.html#whose"
# Of each key of `prose.CLAIMS`, `theorems.WHOSE` and `verdicts.WHOSE`: whose it is in one word, and
# what else must be known at a glance. What the key means in full is said where the pointer rests.
WHOSE = {
    "paper": ("paper", ""),
    "verbatim": ("paper", "verbatim"),
    "paraphrase": ("paper", "paraphrased"),
    "our zone": ("paper", "in our zone"),
    "carried over": ("paper", "carried over"),
    "display": ("reconstruction", "its formula verbatim"),
    "reconstruction": ("reconstruction", ""),
    "ours": ("ours", ""),
}
MISSED = ("not", "does", "our reconstruction fails")  # how a verdict of that kind begins
OPEN = ("not in this run", "undecided")


def whose(key: str, item: str, meaning: str, up: str = "../") -> str:
    """Whose it is, with the item of the paper that it belongs to: a link to what that means."""
    return (
        f'<a class="whose {WHOSE[key][0]}" href="{up}{EXPLAINED}" title="{html.escape(meaning)}">'
        f'<span class="visually-hidden">Whose: </span>{html.escape(shown(key, item))}</a>'
    )


def shown(key: str, item: str) -> str:
    """What the badge of `whose` says.

    >>> shown("paper", "Figure 3"), shown("ours", "Figure 3")
    ('paper · Figure 3', 'ours · to Figure 3')
    """
    word, more = WHOSE[key]
    item = item.removeprefix("to ")
    item = f"to {item}" if item and word == "ours" else item
    return " · ".join(filter(None, [word, item, more]))


def verdict(said: str) -> str:
    """What became of a claim."""
    kind = "open" if said in OPEN else "missed" if said.startswith(MISSED) else "held"
    return f'<span class="verdict {kind}">{said}</span>'
