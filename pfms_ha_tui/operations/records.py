"""What outlives an operation: promotions, and marks on nodes that are not to be trusted for now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pfms_ha_tui.operations.ledger import Ledger
from pfms_ha_tui.pandora.epoch import Promotion, from_json, to_json


class MarkKind(StrEnum):
    """Why a node is not to be trusted."""

    NEEDS_RESYNC = "needs resync"
    """Its data may differ from the master's; excluded from every candidate list until it is cloned."""
    DIVERGED = "diverged"
    """It has transactions that the master never received; they are to be saved before it is cloned."""
    UNTOUCHED = "untouched"
    """Of a node that needs a resync: the resync that failed or was cancelled is all that speaks against it,
    and its old data is in its place. A person may promote it all the same."""
    UNRESOLVED = "unresolved"
    """A promotion of it may have taken effect, but it could not be asked: until it is seen read-only or
    its process is proven gone, nobody else is promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One mark on one node."""

    node: str
    kind: MarkKind
    reason: str
    """One sentence."""
    at: float
    operation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionEntry:
    """One promotion as this worker recorded it."""

    promotion: Promotion
    operation: int | None
    automatic: bool
    """A failover (which ``recovery_block`` counts), not a switchover."""
    acknowledged_by: str | None


class Records:
    """Promotions and marks of one cluster, in the ledger's file. Blocking, from any thread."""

    def __init__(self, ledger: Ledger, cluster: str) -> None:
        self._ledger = ledger
        self._cluster = cluster

    def promotions(self) -> tuple[PromotionEntry, ...]:
        """All promotions, newest epoch first."""
        with self._ledger.transaction() as db:
            rows = db.execute(
                "SELECT * FROM promotion WHERE cluster = ? ORDER BY epoch DESC", (self._cluster,)
            ).fetchall()
        return tuple(
            PromotionEntry(
                promotion=record,
                operation=row["operation"],
                automatic=bool(row["automatic"]),
                acknowledged_by=row["acknowledged_by"],
            )
            for row in rows
            if (record := from_json(row["record"])) is not None
        )

    def newest(self) -> Promotion | None:
        """The promotion of the highest epoch."""
        found = self.promotions()
        return found[0].promotion if found else None

    def put_promotion(self, promotion: Promotion, *, operation: int | None, automatic: bool) -> None:
        """Record a promotion, before the node is opened; recording it again with more facts replaces it."""
        with self._ledger.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO promotion (cluster, epoch, at, operation, automatic, record)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    self._cluster,
                    promotion.epoch,
                    promotion.at,
                    operation,
                    int(automatic),
                    to_json(promotion),
                ),
            )

    def withdraw_promotion(self, epoch: int) -> None:
        """Forget a promotion that was undone before the node was opened."""
        with self._ledger.transaction() as db:
            db.execute("DELETE FROM promotion WHERE cluster = ? AND epoch = ?", (self._cluster, epoch))

    def last_failover_at(self) -> float | None:
        """Wall time of the newest failover that nobody acknowledged (``recovery_block`` runs from it)."""
        with self._ledger.transaction() as db:
            row = db.execute(
                "SELECT max(at) AS at FROM promotion"
                " WHERE cluster = ? AND automatic = 1 AND acknowledged_by IS NULL",
                (self._cluster,),
            ).fetchone()
        at: float | None = row["at"]
        return at

    def acknowledge(self, actor: str) -> int:
        """A person has seen the failovers so far; how many there were. Ends ``recovery_block``."""
        with self._ledger.transaction() as db:
            return db.execute(
                "UPDATE promotion SET acknowledged_by = ?"
                " WHERE cluster = ? AND automatic = 1 AND acknowledged_by IS NULL",
                (actor, self._cluster),
            ).rowcount

    def marks(self) -> tuple[Mark, ...]:
        """Every mark."""
        with self._ledger.transaction() as db:
            rows = db.execute(
                "SELECT * FROM mark WHERE cluster = ? ORDER BY node, kind", (self._cluster,)
            ).fetchall()
        return tuple(
            Mark(
                node=row["node"],
                kind=MarkKind(row["kind"]),
                reason=row["reason"],
                at=row["at"],
                operation=row["operation"],
            )
            for row in rows
        )

    def marked(self, kind: MarkKind) -> dict[str, str]:
        """label → reason of the nodes with that mark."""
        return {mark.node: mark.reason for mark in self.marks() if mark.kind is kind}

    def distrusted(self, node: str) -> bool:
        """Whether anything but a resync that left its old data in place speaks against the node."""
        kinds = {mark.kind for mark in self.marks() if mark.node == node}
        if MarkKind.UNTOUCHED in kinds:
            kinds -= {MarkKind.UNTOUCHED, MarkKind.NEEDS_RESYNC}
        return bool(kinds)

    def put_mark(self, mark: Mark) -> None:
        """Mark a node; a mark of the same kind is replaced.

        What was said in a node's favour is over with any new reason for a resync.
        """
        with self._ledger.transaction() as db:
            if mark.kind is MarkKind.NEEDS_RESYNC:
                _forget(db, self._cluster, mark.node, (MarkKind.UNTOUCHED,))
            db.execute(
                "INSERT OR REPLACE INTO mark (cluster, node, kind, reason, at, operation)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (self._cluster, mark.node, mark.kind, mark.reason, mark.at, mark.operation),
            )

    def clear_mark(self, node: str, *kinds: MarkKind) -> None:
        """Take marks off a node."""
        with self._ledger.transaction() as db:
            _forget(db, self._cluster, node, kinds)
            if MarkKind.NEEDS_RESYNC in kinds:
                _forget(db, self._cluster, node, (MarkKind.UNTOUCHED,))

    def settle_untouched(self, node: str) -> None:
        """The node was promoted on its old data: that its resync failed speaks against it no more."""
        if node in self.marked(MarkKind.UNTOUCHED):
            self.clear_mark(node, MarkKind.NEEDS_RESYNC)


def _forget(db: sqlite3.Connection, cluster: str, node: str, kinds: Iterable[MarkKind]) -> None:
    db.executemany(
        "DELETE FROM mark WHERE cluster = ? AND node = ? AND kind = ?",
        [(cluster, node, kind) for kind in kinds],
    )
