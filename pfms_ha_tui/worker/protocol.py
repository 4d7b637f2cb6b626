"""What worker and console say to each other over the Unix socket: JSON, one message a line.

Version 1. A client sends a :class:`Request`; the worker answers each with one :class:`Response` of
the same ``id``, in any order; after ``subscribe`` the worker also sends :class:`Notice` lines by
itself. The first request must be ``hello``; a version the worker does not speak is answered with an
error that names both versions. An unknown method or a malformed line is answered with an error and
never ends the worker (``id`` 0 when the line had none, so clients number from 1); a line over
:data:`MAX_LINE` bytes ends that connection only.

A client that reads slowly is sent the newest state only, never a backlog of old ones; of events it is
sent the newest :data:`EVENTS_KEPT`, and sees by their ids that it has to ask ``events`` for the rest.

==================  ==========================  ==========================================
method              params                      result
==================  ==========================  ==========================================
``hello``           :class:`Hello`              :class:`Welcome`
``subscribe``       :class:`Nothing`            ``Nothing``; then ``state``, ``events``, ``goodbye`` notices
``state``           :class:`Nothing`            ``list[ClusterState]``
``events``          :class:`EventsQuery`        ``list[Event]``, newest first
``lag``             :class:`LagQuery`           ``list[LagSample]``, oldest first
``node``            :class:`NodeQuery`          :class:`NodeDetails`
``operations``      :class:`OperationsQuery`    ``list[OperationView]``, newest first
``plan``            :class:`Order`              :class:`Plan`: every guard and step, nothing changed
``clone_check``     :class:`Order`              :class:`CloneCheck`: asks hosts and servers, changes nothing
``start``           :class:`Start`              ``OperationView``; its progress comes with ``state``
``cancel``          :class:`Cancel`             ``Nothing``: asked for; it ends at the next safe point
``give_up``         :class:`OperationRef`       ``Nothing``: an interrupted operation ends as it is
``pause``           :class:`Pause`              ``Nothing``
``resume``          :class:`ClusterRef`         ``Nothing``
``acknowledge``     :class:`ClusterRef`         ``Nothing``
``set_mode``        :class:`SetMode`            ``Nothing``
``name_master``     :class:`NodeQuery`          ``Nothing``
``stop``            :class:`Nothing`            ``Nothing``
==================  ==========================  ==========================================

From ``clone_check`` on, all need full rights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

import msgspec

from pfms_ha_tui.cluster.diagnosis import Diagnosis
from pfms_ha_tui.cluster.event import Event
from pfms_ha_tui.cluster.policy import Mode, Policy
from pfms_ha_tui.cluster.readiness import Readiness
from pfms_ha_tui.cluster.snapshot import Maintenance, Snapshot
from pfms_ha_tui.config.settings import CloneMethod, Transfer
from pfms_ha_tui.operations.view import CloneCheck, OperationView

PROTOCOL_VERSION = 1
CLONE_CHECK_WITHIN = 180.0
"""Seconds for an answer to ``clone_check``: measuring a large datadir takes its time."""
REHEARSAL_WITHIN = 120.0
"""Seconds for a rehearsal: every check of every step."""
BEGIN_WITHIN = 60.0
"""Seconds until an order has begun, or is refused."""
MAX_LINE = 16 * 1024 * 1024
EVENTS_KEPT = 1000
"""Unsent events kept for one slow subscriber."""


class Rights(StrEnum):
    """What the peer of a connection may do."""

    FULL = "full"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterState:
    """Everything a console shows of one cluster, at one instant."""

    name: str
    mode: Mode
    interval: float
    snapshot: Snapshot
    diagnosis: Diagnosis
    readiness: Readiness
    roles_known: bool
    epoch: int
    maintenance: Maintenance | None = None
    operation: OperationView | None = None
    rival_manager: str | None = None
    refusals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """See :data:`pfms_ha_tui.cluster.refusals.Refusals`: why an order cannot be given now."""
    notes: tuple[str, ...] = ()
    """Standing facts about the worker itself, e.g. "journal was corrupt, set aside as …"."""
    policy: Policy | None = None
    """The thresholds the worker judges by, so that a console draws the same limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters, or no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Who connects."""

    protocol: int
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Who answers, and what the peer may do."""

    protocol: int
    version: str
    pid: int
    started_at: float
    actor: str
    """The name of the peer's account, by ``SO_PEERCRED``."""
    rights: Rights
    clusters: tuple[str, ...]
    config: str
    """Path of the settings the worker runs with."""
    log_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsQuery:
    """Which events; newest first."""

    cluster: str | None = None
    """With it also come the events of no cluster (``cluster`` empty), which concern the worker itself."""
    limit: int = 500
    before_id: int | None = None
    since: float | None = None
    """Wall time, inclusive."""
    until: float | None = None
    """Wall time, exclusive."""

    def matches(self, event: Event) -> bool:
        """Whether the event is asked for; ``limit`` apart."""
        return (
            (self.cluster is None or event.cluster in (self.cluster, ""))
            and (self.before_id is None or event.id < self.before_id)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LagQuery:
    """Lag of one node since a moment."""

    cluster: str
    node: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeQuery:
    """Everything about one node, asked of the server now."""

    cluster: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDetails:
    """The raw answers, as the server spells them; secrets masked."""

    node: str
    at: float
    replica_status: tuple[Mapping[str, str | None], ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)
    processlist: tuple[Mapping[str, str | None], ...] = ()
    """The sessions, busiest first; at most 200."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """part → why it could not be read."""
    binlog: Mapping[str, str | None] = field(default_factory=dict)
    """The one row of SHOW MASTER STATUS or SHOW BINARY LOG STATUS."""
    binlog_sizes: Mapping[str, int] = field(default_factory=dict)
    """Binary log file → bytes."""
    sessions: int | None = None
    """How many sessions there are, our own included; ``None`` = may not be read."""
    grants: tuple[str, ...] = ()
    """SHOW GRANTS of the administrator's account."""


class OrderKind(StrEnum):
    """What a person can order."""

    FAILOVER = "failover"
    SWITCHOVER = "switchover"
    REJOIN = "rejoin"
    LOCK = "lock"
    """Make one of several writable nodes read-only and end its sessions."""
    REOPEN = "reopen"
    MERGE = "merge"
    """Recover what the losing side of a split-brain wrote, from ``target`` into the master; or go on with
    such a merge (``resume``), merge its archive again (``restore``), take it back (``undo``)."""
    CLONE = "clone"
    """Resync: rebuild a slave from another node. Queues while another operation runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One operation as it is asked for."""

    cluster: str
    kind: OrderKind
    target: str | None = None
    """The node that is promoted, rejoined, locked or reopened; ``None``: the worker chooses (failover)."""
    kill_long: bool = False
    """Switchover: transactions that have been open for long may be killed."""
    source: str | None = None
    """Clone: the node whose data it gets; ``None`` = the worker chooses, a healthy slave first."""
    method: CloneMethod | None = None
    """Clone: ``None`` = as configured."""
    transfer: Transfer | None = None
    """Clone: the path of the bytes; ``None`` = as configured."""
    bandwidth: int | None = None
    """Clone: bytes per second; 0 = as fast as it goes, ``None`` = as configured."""
    threads: int | None = None
    """Clone: of the backup tool; ``None`` = as configured."""
    give_up_old: bool = False
    """Clone: confirmed by a second yes: without room for both, the old data goes *before* the copy."""
    keep_old: bool = False
    """Clone: the old data is never removed. Of every clone that nobody confirmed."""
    start: str | None = None
    """Merge: first moment, local date-time of the worker's host or ``@seconds``."""
    end: str | None = None
    """Merge: the moment after the last."""
    tables: tuple[str, ...] | None = None
    """Merge: only these."""
    anyway: bool = False
    """Merge: although it looks like the wrong direction."""
    into: str | None = None
    """Merge: the node the rows go into; ``None`` = the master."""
    restore: str | None = None
    """Merge: path of an archive, or of its merge's directory, whose rows are merged again."""
    resume: str | None = None
    """Merge: path of the directory of a merge that is gone on with."""
    undo: str | None = None
    """Merge: path of the directory (or undo file) of a merge that is taken back."""
    drop_columns: tuple[str, ...] = ()
    """Merge: ``table.column`` that only the losing side has, archived but not merged."""
    rename_columns: tuple[str, ...] = ()
    """Merge: ``table.column=name``: the column has another name on the master."""

    def settled(self, found: CloneCheck) -> Order:
        """A clone by the very method that ``found`` showed: no other one may begin instead."""
        return replace(self, method=found.method or self.method)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an order would do."""

    operation: OperationView
    """Not run; its steps carry the exact SQL and shell."""
    confirm: str
    """The label that has to be typed: the node that is changed the most."""
    by_name: bool = False
    """Failover: the node may be promoted only because a person types its name, or ordered it by name."""
    why_not: str | None = None
    """Why it is refused; ``None`` = it may be started."""
    impact: tuple[str, ...] = ()
    """What it costs, one sentence each: the loss meter, the sessions that are ended."""
    warning: str | None = None
    """Merge: why this looks like the wrong direction; it starts only with :attr:`Order.anyway`."""

    def checked(self, found: CloneCheck) -> Plan:
        """The plan of a clone with what its hosts told: the exact commands, or what stands against it.

        The title becomes that of the very operation whose steps are shown; what the checks warn of is part
        of what it costs.
        """
        told = replace(self, impact=(*self.impact, *found.warnings))
        if found.problems:
            return replace(told, why_not="; ".join(found.problems))
        if self.why_not is not None:
            return told
        return replace(told, operation=replace(self.operation, title=found.title, steps=found.steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin an order, or rehearse it against the live cluster."""

    order: Order
    confirm: str | None = None
    """The label as it was typed; not needed for a rehearsal."""
    planned: str | None = None
    """The title of the plan that was confirmed: where the worker chooses a node it may choose another one by
    now, and what was not seen is not begun."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRef:
    """One operation."""

    cluster: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """The operation that runs, or a resync that waits for its turn: one of the two."""

    cluster: str
    id: int | None = None
    """Of the operation that runs."""
    queued: str | None = None
    """Label of the node whose resync waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationsQuery:
    """The newest operations of a cluster."""

    cluster: str
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRef:
    """One cluster."""

    cluster: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Maintenance for so long."""

    cluster: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMode:
    """How much the worker may do by itself."""

    cluster: str
    mode: Mode


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """From the client."""

    id: int
    method: str
    params: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error as it crosses the socket; see :class:`pfms_ha_tui.errors.PfmsError`."""

    code: str
    reason: str
    node: str | None = None
    hint: str | None = None


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """From the worker, to one request; ``result`` counts only without ``error``."""

    id: int
    result: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    error: Fault | None = None


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """From the worker, by itself.

    ``state`` carries a ClusterState, ``events`` a list of Event, ``goodbye`` nothing.
    """

    notice: str
    data: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))


def encode(value: object) -> bytes:
    """``value`` as JSON.

    Text from servers and hosts may hold lone surrogates, which no UTF-8 can carry: they become
    replacement characters, because a name that cannot be shown must not silence a whole state.
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_printable(msgspec.to_builtins(value)))


def encode_line(message: Request | Response | Notice) -> bytes:
    """``message`` as one line."""
    return msgspec.json.encode(message) + b"\n"


def _printable(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
        case list() | tuple():
            return [_printable(item) for item in value]
        case _:
            return value
