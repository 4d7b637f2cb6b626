"""Why a merge is refused or stops."""

from __future__ import annotations

from pfms_ha_tui.errors import OperationError


class MergeError(OperationError):
    """A merge was refused or stopped; nothing that was already added is lost or doubled by it."""

    code = "merge"


class SchemaError(MergeError):
    """The two sides' tables differ in a way that would lose or change data."""

    code = "merge_schema"


class ArchiveError(MergeError):
    """An archive cannot be written, read or trusted."""

    code = "archive"


class MergeCancelled(MergeError):  # noqa: N818 - an outcome, not a fault
    """A person stopped it between two batches; it can be resumed."""

    code = "cancelled"
