"""A ledger that cannot be used says what to do, and is never set aside by itself."""

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


def test_a_ledger_that_is_damaged_moved_or_replaced_while_it_is_open_says_so(tmp_path: Path) -> None:
    path = tmp_path / "operations.db"
    ledger = Ledger(path)
    assert ledger.fault() is None
    path.rename(tmp_path / "elsewhere")
    assert "moved away" in (ledger.fault() or "")
    path.write_bytes(b"")
    assert "replaced" in (ledger.fault() or "")
    ledger.close()


def test_a_damaged_page_of_an_open_ledger_is_found(tmp_path: Path) -> None:
    path = tmp_path / "operations.db"
    Ledger(path).close()  # so that everything is in the file itself
    ledger = Ledger(path)
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    with path.open("r+b") as file:
        file.write(content)
    fault = ledger.fault() or ""
    assert "the ledger" in fault
    assert f"mv {path} {path}.damaged" in fault
    with pytest.raises(LedgerError) as caught:
        ledger.entry(1)
    assert f"mv {path}" in (caught.value.hint or "")
    ledger.close()
