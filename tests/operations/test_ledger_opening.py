"""A ledger that cannot be opened says what to do, and is never set aside by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pfms_ha_tui.operations.ledger import Ledger, LedgerError


def test_a_damaged_ledger_is_kept_and_the_way_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "operations.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError) as caught:
        Ledger(path)
    hint = caught.value.hint or ""
    assert "If no failover, switchover or resync was interrupted" in hint
    assert f"mv {path} {path}.damaged" in hint
    assert path.read_bytes().startswith(b"no database")


def test_a_ledger_that_is_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as caught:
        Ledger(tmp_path)
    assert str(tmp_path) in (caught.value.hint or "")
