"""The console waits for the client's import: it must stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["client", "protocol", "spawn"])
def test_what_consoles_import_brings_no_database_no_ssh_and_no_journal(module: str) -> None:
    code = (
        f"import pfms_ha_tui.worker.{module}, sys;"
        "print(sorted({'asyncssh', 'pymysql', 'sqlite3', 'cryptography', 'textual'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
