"""Pictures of what the curves cost: measured here, and reckoned for other machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import pyplot as plt

from geomem.geometry.cost import Machine, Work
from geomem.plots.beside import SMALL_TEXT, legend_below
from geomem.plots.drawing import Drawn, from_rows
from geomem.plots.files import COLUMN

LOOKS = (("k", "-"), ("C0", "--"), ("C1", "-"), ("C1", "--"), ("C1", ":"))
Reckoned = Mapping[str, tuple[Machine, int]]  # name -> what each process has, and how many


def measured_and_reckoned(
    measured: Sequence[tuple[Work, float]], here: Machine, work: Sequence[Work], machines: Reckoned
) -> Drawn:
    """Above, what was measured here beside what was reckoned; below, what others would take.

    Parameters
    ----------
    measured : of growing training sets, the work and the seconds that it took.
    here : reckons them.
    work, machines : of growing training sets, on each of some machines.
    """
    fig, (above, below) = plt.subplots(2, 1, figsize=(COLUMN, 4.4))
    rows = list[tuple[Any, ...]]()
    counts = [one.n for one, _ in measured]
    reckoned = [sum(here.seconds(one)) for one, _ in measured]
    above.plot(counts, [seconds for _, seconds in measured], "ko", label="measured")
    above.plot(counts, reckoned, "k-", lw=1, label="reckoned")
    above.set_xticks(counts, [f"{n:,}" for n in counts])
    above.set(ylabel="seconds", xlabel="training images $N$", ylim=(0, None))
    above.legend(loc="lower right")
    for (one, seconds), said in zip(measured, reckoned, strict=True):
        rows += [("measured", one.n, one.d, seconds), ("reckoned", one.n, one.d, said)]
    for (name, (machine, processes)), (color, line) in zip(machines.items(), LOOKS, strict=True):
        hours = [sum(machine.seconds(one, processes)) / 3600 for one in work]
        below.loglog([one.n for one in work], hours, color=color, ls=line, label=name)
        rows += [(name, one.n, one.d, 3600 * h) for one, h in zip(work, hours, strict=True)]
    for mark, name in ((1, "hour"), (24, "day"), (24 * 365, "year")):
        below.axhline(mark, color="0.8", lw=0.8, zorder=0)
        beside: dict[str, Any] = dict(transform=below.get_yaxis_transform(), va="center")
        below.text(1.02, mark, name, color="0.4", fontsize=SMALL_TEXT, **beside)
    below.set(ylabel="hours", xlabel="training images $N$", xlim=(work[0].n, work[-1].n))
    legend_below(fig, *below.get_legend_handles_labels())
    headings = ["machine [name]", "N [images]", "d [numbers]", "time [s]"]
    return fig, from_rows(headings, rows)
