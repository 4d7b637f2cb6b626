"""What is asked about a merge before it is ordered: who lost, from when to when, what would be added.

A part of the protocol (see :mod:`.protocol`). Nothing here changes anything on any node. What may take long
is asked again and again with the same parameters: each answer comes within about a second, with the result
or with how far it is; who stops asking stops the work.

====================  ==========================  ==========================================
method                params                      result
====================  ==========================  ==========================================
``merge_moments``     :class:`MomentQuery`        ``list[MomentRead]``, in the order asked
``merge_split``       :class:`SplitQuery`         :class:`Looked` with ``split``
``merge_histogram``   :class:`MergeQuery`         :class:`Looked` with ``histogram``
``merge_dry_run``     :class:`MergeQuery`         :class:`Looked` with ``dry_run``
====================  ==========================  ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass

from pfms_ha_tui.operations.view import Progress

NO_TIME = "rows without a time"
"""A :attr:`LeftBehind.area`: rows of a merged table, which no window holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentQuery:
    """Local date-times of the worker's host as a person wrote them, or ``@seconds``."""

    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One moment in every form."""

    at: int
    """Seconds since 1970."""
    text: str
    """As a person edits it: ``2026-10-25 02:30:00``."""
    zone: str
    """``CEST``."""
    offset: str
    """``+02:00``; behind the text it makes it unmistakable."""
    comes_twice: bool = False
    """Whether the text alone does not tell which of two moments is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentRead:
    """What came of one text."""

    moment: Moment | None = None
    problem: str | None = None
    """Why it is no moment."""
    hint: str | None = None
    choices: tuple[Moment, ...] = ()
    """The two moments that are possible, when the clocks were put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitQuery:
    """Which two nodes; ``None`` = the worker chooses: two that are writable, else the master and another."""

    cluster: str
    one: str | None = None
    other: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitSide:
    """What is known of one side; ``None`` = not known."""

    label: str
    writable: bool | None = None
    epoch: int | None = None
    """Of the promotion record in its own data."""
    keepalive: float | None = None
    """Newest contact of a Pandora server, wall time."""
    follows: str | None = None
    """Label of the node it replicates from."""
    named_by_hosts_file: bool = False
    named_by_journal: bool = False
    position: str | None = None
    """Its own coordinates."""
    rows: int | None = None
    """Rows it has in the proposed window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedWindow:
    """From when to when, and why."""

    start: Moment
    end: Moment
    reasons: tuple[str, ...] = ()
    certain: bool = False
    """Whether journal and data told it; else a person should look twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPreset:
    """A window to pick."""

    title: str
    start: Moment
    end: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Who lost, and from when to when: proposed, with what it rests on."""

    sides: tuple[SplitSide, SplitSide]
    losing: str
    master: str
    reasons: tuple[str, ...]
    """Strongest first, one short sentence each."""
    certain: bool
    """Whether something better than the order in ``ha_hosts`` decided."""
    warnings: dict[str, str]
    """Label of a side → why it looks wrong to take that one as the losing side."""
    skew: float
    """Seconds that the second side's clock is ahead of the first's."""
    window: ProposedWindow | None = None
    """``None`` when neither the journal nor the data tell one: the data do not differ."""
    older: Moment | None = None
    """Where rows differ too, before the proposed window: agents delivered late, or one side purged."""
    presets: tuple[WindowPreset, ...] = ()
    zone: str = ""
    """Of the worker's host: ``Europe/Paris``."""
    tables: tuple[str, ...] = ()
    """What is merged unless others are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeQuery:
    """One merge, for its histogram or its dry run."""

    cluster: str
    losing: str
    into: str | None = None
    """``None`` = the master."""
    start: int
    """Seconds since 1970, inclusive."""
    end: int
    """Exclusive."""
    tables: tuple[str, ...] | None = None
    drop_columns: tuple[str, ...] = ()
    """See :class:`pfms_ha_tui.worker.protocol.Order`."""
    rename_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPerSpan:
    """Rows of one span of time on both nodes."""

    start: int
    seconds: int
    losing: int
    master: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCounts:
    """One table of a dry run."""

    table: str
    rows: int
    """In the window on the losing side."""
    there: int
    """Already on the master."""
    to_add: int
    skipped: int
    """Of modules and agents that the master does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedRows:
    """Rows that stay out because of whose they are."""

    text: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProblem:
    """A difference between the two sides' tables."""

    where: str
    """``table`` or ``table.column``."""
    text: str
    blocking: bool
    """Whether nothing is merged until it is repaired or mapped."""
    remedy: str | None = None
    names: tuple[str, ...] | None = None
    """Columns that only the master's table has, one of which this one may be; ``None`` = it may not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """Configuration of one table that is archived, not merged; or rows that are (:data:`NO_TIME`)."""

    area: str
    table: str
    created: int
    changed: int
    samples: tuple[str, ...] = ()
    """Names of some of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a merge would do, and what it would leave."""

    losing: str
    master: str
    start: int
    end: int
    tables: tuple[TableCounts, ...]
    skipped: tuple[SkippedRows, ...] = ()
    """Most rows first."""
    renamed: tuple[str, ...] = ()
    """Whose name differs and whose rows are merged all the same, one sentence each."""
    problems: tuple[ColumnProblem, ...] = ()
    left_behind: tuple[LeftBehind, ...] = ()
    not_compared: tuple[str, ...] = ()
    """Configuration that was not compared, and why, one sentence each."""
    seconds: float = 0.0

    @property
    def to_add(self) -> int:
        """Rows that would be added."""
        return sum(one.to_add for one in self.tables)

    @property
    def rows(self) -> int:
        """Rows of the losing side in the window."""
        return sum(one.rows for one in self.tables)

    @property
    def there(self) -> int:
        """Of those, rows that the master has."""
        return sum(one.there for one in self.tables)

    @property
    def skipped_rows(self) -> int:
        """Of those, rows that stay out."""
        return sum(one.skipped for one in self.tables)

    @property
    def blocked(self) -> bool:
        """Whether tables must be repaired or mapped first."""
        return any(one.blocking for one in self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """The result; or, while it is worked on, none of them and how far it is."""

    progress: Progress | None = None
    doing: str = ""
    """What is looked at: a table."""
    split: Split | None = None
    histogram: tuple[RowsPerSpan, ...] | None = None
    dry_run: DryRun | None = None
