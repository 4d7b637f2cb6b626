"""Events of this program in Pandora's own event list (``tevento``)."""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum

from pfms_ha_tui.masking import mask
from pfms_ha_tui.pandora.entities import encode
from pfms_ha_tui.pandora.sql import Sql

_LONGEST = 8000
"""Bytes are cheap but ``evento`` is a TEXT of 64 kB and one character may become six."""

_INSERT = """
INSERT INTO tevento
    (id_agente, id_usuario, id_grupo, estado, timestamp, evento, utimestamp, event_type, id_agentmodule,
     id_alert_am, criticity, tags, source, id_extra, critical_instructions, warning_instructions,
     unknown_instructions, owner_user, ack_utimestamp, custom_data, data, module_status)
VALUES
    (0, '0', 0, 0, %s, %s, %s, 'system', 0,
     0, %s, '', 'monitoring_server', %s, '', '',
     '', '', 0, '', '', 0)
"""
# Every NOT NULL text column is named: they have no default, and a strict sql_mode refuses a row without them.


class Criticity(IntEnum):
    """``tevento.criticity``."""

    INFORMATIONAL = 1
    NORMAL = 2
    WARNING = 3
    CRITICAL = 4


def insert_event(session: Sql, text: str, *, at: float, criticity: Criticity, key: str = "") -> None:
    """Add a ``system`` event, entity-encoded, secrets masked.

    Args:
        session: a session on the MASTER with Pandora's database as default.
        text: plain text.
        at: wall time, seconds; stored as local time too, as Pandora's server does.
        criticity: how the event list colours it.
        key: ``id_extra``: events with the same key belong together.

    Raises:
        NodeError: the server refused the row.
    """
    local = datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
    body = encode(mask(text)[:_LONGEST])
    session.execute(_INSERT, (local, body, int(at), int(criticity), encode(key[:40])))
