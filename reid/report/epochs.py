"""The epoch tested beside the oracle-best one, which looks at the target."""

from __future__ import annotations

import pandas as pd

from reid.report.inputs import Benchmark, lines
from reid.report.measured import with_marks
from reid.report.reading import REMEDIES, RESULTS
from reid.report.tables import MISSING, Table, percent, points

HEADER = (
    "model", "trained on → tested on", "seed", "epoch tested (how chosen)", "mAP, %",
    "oracle-best epoch", "mAP, %", "difference, points",
)  # fmt: skip
ORACLE = (
    "The oracle-best epoch is chosen by looking at the target: it is an upper bound, and is used nowhere else in this "
    "report."
)


def epoch_table(benchmark: Benchmark) -> Table | None:
    """One line a network and target whose oracle-best epoch was measured; None where none was."""
    both = pd.concat([frame for frame in (benchmark.results, benchmark.remedies) if len(frame)])
    measured = both[both["oracle_mAP"].notna()]
    if measured.empty:
        return None
    rows = tuple(
        (
            benchmark.shown(row.model),
            f"{row.source} → {row.target}",
            str(row.seed),
            f"{row.epoch or MISSING} ({row.epoch_choice})" if row.epoch_choice else row.epoch or MISSING,
            percent(row.mAP),
            MISSING if pd.isna(row.oracle_epoch) else str(int(row.oracle_epoch)),
            percent(row.oracle_mAP),
            points(row.oracle_mAP - row.mAP),
        )
        for row in lines(measured)
    )
    rest = len(both) - len(measured)
    note = f"{ORACLE} Difference: the oracle's mAP minus that of the epoch tested."
    note += f" Not measured for {rest} of {len(both)} networks and targets." if rest else ""
    note = with_marks(note, [row[0] for row in rows])
    files = f"{RESULTS} and {REMEDIES}" if len(benchmark.remedies) else RESULTS
    return Table("epochs", "Epoch tested and oracle-best epoch", files, HEADER, rows, words=4, note=note)
