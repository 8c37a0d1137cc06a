"""What must be alike for figures to be compared: the device and the precision of training and of testing."""

from __future__ import annotations

import pandas as pd

MEASURED = {
    "train_device": "device of training",
    "train_precision": "precision of training",
    "device": "device of testing",
    "precision": "precision of testing",
}


def mixtures(results: pd.DataFrame, compared: str | None = None) -> list[str]:
    """A sentence for each source and each of :data:`MEASURED` that is not the same in all rows of that source, which
    are what is compared: models, seeds, home and abroad. Rows that do not tell (of older files) say nothing.

    Args:
        results: with the columns model, source, target, seed and those of :data:`MEASURED`.
        compared: what is compared, in words, where it is all rows, of whatever source.
    """
    groups = [(f"networks trained on {source}", rows) for source, rows in results.groupby("source", sort=False)]
    sentences = []
    for words, rows in groups if compared is None else [(compared, results)]:
        for column, measured in MEASURED.items():
            kinds = rows[column].fillna("").astype(str).map(_kind)
            known = [kind for kind in dict.fromkeys(kinds) if kind]
            if len(known) > 1:
                each = "; ".join(f"{kind}: {_who(rows[kinds == kind], rows)}" for kind in known)
                sentences.append(
                    f"Not measured alike: of {words} the {measured} differs ({each}); a difference between them may "
                    "come from that."
                )
    return sentences


def _kind(value: str) -> str:
    """``cpu (AVX2)`` and ``cpu`` are one kind, all GPUs by their names another, several processes of one (``2 x cuda``)
    a third; precisions are what they are."""
    if value in ("", "float32", "tf32", "bf16", "fp16"):
        return value
    processes, times, device = value.rpartition(" x ")
    return processes + times + ("cpu" if device.split(" ")[0] == "cpu" else "cuda")


def _who(alike: pd.DataFrame, all_rows: pd.DataFrame) -> str:
    """The rows of one kind, by no more columns than tell them from the others."""
    other = all_rows.drop(index=alike.index)
    for columns in (["model"], ["target"], ["seed"], ["model", "seed"], ["model", "seed", "target"]):
        names = {"seed": "seed ", "target": "on "}
        groups = alike[columns].drop_duplicates()
        if groups.merge(other[columns].drop_duplicates(), on=columns).empty:
            break
    shown = [
        " ".join(
            f"{names.get(column, '')}{value}" for column, value in zip(columns, row, strict=True) if pd.notna(value)
        )
        for row in groups.itertuples(index=False)
    ]
    return ", ".join(shown)
