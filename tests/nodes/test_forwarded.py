"""What is made of a look through another host."""

from __future__ import annotations

import asyncssh
import pytest
from support.nodekit import fake_cluster

from pfms_ha_tui.cluster.observation import Says
from pfms_ha_tui.config.settings import NodeSettings, SshSettings
from pfms_ha_tui.nodes.forwarded import greeting_text, refused_channel
from pfms_ha_tui.nodes.shell import NodeShell


@pytest.mark.parametrize(
    ("code", "reason", "says"),
    [
        (asyncssh.OPEN_CONNECT_FAILED, "Connection refused", Says.LOST),
        (asyncssh.OPEN_CONNECT_FAILED, "No route to host", Says.LOST),
        (asyncssh.OPEN_CONNECT_FAILED, "Connection timed out", Says.LOST),
        (asyncssh.OPEN_CONNECT_FAILED, "Name or service not known", Says.SILENT),
        (asyncssh.OPEN_CONNECT_FAILED, "unknown host (Temporary failure in name resolution)", Says.SILENT),
        (asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed", Says.SILENT),
        (asyncssh.OPEN_RESOURCE_SHORTAGE, "too many channels", Says.SILENT),
    ],
)
def test_only_what_that_host_tried_in_vain_is_testimony(code: int, reason: str, says: Says) -> None:
    judged, text = refused_channel(asyncssh.ChannelOpenError(code, reason), "seen from node2", "node1:3306")
    assert judged is says
    assert "seen from node2" in text


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (b"\x00\x00\x00\x00\x0a5.5.5-10.11.19-MariaDB-log\x00rest", "greets as 10.11.19-MariaDB"),
        (b"\x00\x00\x00\x00\x0a9.7.4\x00rest", "greets as 9.7.4"),
        (b"\x00\x00\x00\x00\xff\x10\x04Too many connections", "answers with error 1040"),
        (b"\x00\x00\x00\x00\x0a\x1b[31mred\x00", "greets as [31mred"),
        (b"\x00\x00\x00\x00", "answers"),
    ],
)
def test_a_greeting_is_told_in_plain_words(packet: bytes, text: str) -> None:
    assert greeting_text(packet) == text


async def test_root_is_asked_for_only_where_the_settings_say_so() -> None:
    cluster = fake_cluster(1)

    def shell(sudo: bool) -> NodeShell:
        return NodeShell(NodeSettings(label="n", host="h", ssh=SshSettings(host="h", sudo=sudo)), cluster)

    assert shell(False).as_root("kill", "-9", "it's") == "kill -9 'it'\"'\"'s'"
    assert shell(True).as_root("kill", "-9", "1") == "sudo -n kill -9 1"
    assert shell(False).elevated("a; b") == "a; b"
    assert shell(True).elevated("a; b") == "sudo -n /bin/sh -c 'a; b'"
