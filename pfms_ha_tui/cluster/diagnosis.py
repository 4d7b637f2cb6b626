"""What is wrong: the words of every diagnosis and finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pfms_ha_tui.cluster import words


class Severity(StrEnum):
    """How bad, worst last."""

    OK = "ok"
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"
    UNKNOWN = "unknown"


class DiagnosisKind(StrEnum):
    """One per cluster, worst first in this order; also the kinds of a node's findings."""

    NO_CONNECTION = "NoConnection"
    SPLIT_BRAIN = "SplitBrain"
    NO_MASTER = "NoMaster"
    MASTER_DEAD_NO_CANDIDATE = "MasterDeadNoCandidate"
    MASTER_DEAD = "MasterDead"
    MASTER_HUNG = "MasterHung"
    MASTER_UNREACHABLE = "MasterUnreachable"
    MASTER_UNREACHABLE_BY_SELF = "MasterUnreachableBySelf"
    MASTER_SUSPECT = "MasterSuspect"
    """The master stopped answering and the verdict is not complete; never acted on."""
    OLD_MASTER_RETURNED = "OldMasterReturned"
    """A node that an earlier epoch made master is back and is not yet a slave of the present one."""
    FOREIGN_MASTER = "ForeignMaster"
    DIVERGED = "Diverged"
    MASTER_IMPAIRED = "MasterImpaired"
    REPLICATION_STOPPED = "ReplicationStopped"
    REPLICATION_STALLED = "ReplicationStalled"
    SLAVE_WRITABLE = "SlaveWritable"
    NEEDS_RESYNC = "NeedsResync"
    """A node that takes over by itself no more until it is rebuilt, be it that a resync failed."""
    SLAVE_DOWN = "SlaveDown"
    SLAVE_LAGGING = "SlaveLagging"
    SLAVE_RESYNCING = "SlaveResyncing"
    """A slave is being rebuilt, or waits for it: whatever else it shows until then is expected."""
    CLOCK_SKEW = "ClockSkew"
    CONFIG_DRIFT = "ConfigDrift"
    UNKNOWN = "Unknown"
    HEALTHY = "Healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing about one node (or the cluster, ``node`` None)."""

    kind: DiagnosisKind
    severity: Severity
    node: str | None
    text: str
    hint: str | None = None


def finding(
    kind: DiagnosisKind, severity: Severity, node: str | None, text: str, hint: str | None = None
) -> Finding:
    """A finding with its text closed as a sentence."""
    return Finding(kind=kind, severity=severity, node=node, text=words.sentence(text), hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The worst thing that is wrong, in one sentence, and everything else that is."""

    kind: DiagnosisKind
    severity: Severity
    text: str
    """One sentence for the banner."""
    master: str | None
    """The label this diagnosis takes for the master (present or dead)."""
    findings: tuple[Finding, ...] = ()
    evidence: tuple[str, ...] = ()
    """What the judgement rests on, one short sentence each."""
    hint: str | None = None
