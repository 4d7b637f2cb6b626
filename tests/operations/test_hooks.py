"""The site's hooks: their environment, and that they change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pfms_ha_tui.config.settings import (
    Account,
    ClusterSettings,
    HookEvent,
    NodeSettings,
    SshSettings,
)
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.operations.hooks import Hooks


@pytest.fixture
def cluster() -> ClusterSettings:
    account = Account(user="u", password=Secret(""))
    node = NodeSettings(label="node1", host="127.0.0.1", ssh=SshSettings(host="127.0.0.1"))
    return ClusterSettings(name="pandora", nodes=(node,), admin=account, replication=account)


def script(tmp_path: Path, name: str, body: str) -> str:
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


async def test_a_hook_gets_the_facts_in_its_environment_unquoted(
    cluster: ClusterSettings, tmp_path: Path
) -> None:
    hook = script(tmp_path, "hook", f'env | grep ^PFMS_ | sort >"{tmp_path}/$PFMS_EVENT-$1"')
    cluster = replace(cluster, hooks={"failover_finished": f"{hook} own", "any": f"{hook} any"})
    hooks = Hooks(cluster, timeout=20)
    facts = {"old_master": "node1", "text": "it's; $(reboot)\0", "epoch": 3, "nothing": None}
    assert await hooks.run(HookEvent.FAILOVER_FINISHED, facts) == []
    for which in ("own", "any"):
        assert (tmp_path / f"failover_finished-{which}").read_text().splitlines() == [
            "PFMS_CLUSTER=pandora",
            "PFMS_EPOCH=3",
            "PFMS_EVENT=failover_finished",
            "PFMS_OLD_MASTER=node1",
            "PFMS_TEXT=it's; $(reboot)",
        ]


async def test_a_hook_that_fails_or_hangs_is_one_sentence(cluster: ClusterSettings, tmp_path: Path) -> None:
    broken = script(tmp_path, "broken", "echo no such pager >&2; exit 4")
    hangs = script(tmp_path, "hangs", "sleep 300")
    cluster = replace(cluster, hooks={"split_brain": broken, "any": hangs})
    complaints = await Hooks(cluster, timeout=2).run(HookEvent.SPLIT_BRAIN, {})
    assert len(complaints) == 2
    assert "ended with 4: no such pager" in complaints[0]
    assert "did not end within 2 s" in complaints[1]


async def test_what_was_started_can_be_waited_for(cluster: ClusterSettings, tmp_path: Path) -> None:
    cluster = replace(cluster, hooks={"failover_started": script(tmp_path, "hook", f"touch {tmp_path}/told")})
    hooks = Hooks(cluster, timeout=20)
    hooks.start(HookEvent.FAILOVER_STARTED, {})
    hooks.start(HookEvent.FAILOVER_FAILED, {})
    await hooks.settle(20)
    assert (tmp_path / "told").exists()
