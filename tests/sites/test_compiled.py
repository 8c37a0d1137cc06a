from pathlib import Path

import pytest
from numba.core.caching import FunctionCache

from reid.sites.compiled import compiled


def test_loops_are_compiled_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(self: object, function: object) -> None:
        raise RuntimeError(f"cannot cache function: no locator available for file {Path(__file__)}")

    monkeypatch.setattr(FunctionCache, "__init__", nowhere)

    @compiled
    def doubled(value: int) -> int:
        return 2 * value

    assert doubled(21) == 42
    assert doubled.signatures  # type: ignore[attr-defined]
