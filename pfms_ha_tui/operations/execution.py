"""One operation under way: its state, its journal, and its ways forward, back, and after a crash."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import msgspec

from pfms_ha_tui.errors import OperationError, PfmsError
from pfms_ha_tui.masking import mask
from pfms_ha_tui.operations.ledger import Change, Entry, Ledger, LedgerError, Phase
from pfms_ha_tui.operations.preview import preview_of
from pfms_ha_tui.operations.step import Cancelled, OnFailure, Operation, Recovery, Skip, Step, StepRun
from pfms_ha_tui.operations.view import OperationState, OperationView, Progress, StepState, StepView
from pfms_ha_tui.operations.waiting import Clock

log = logging.getLogger(__name__)

T = TypeVar("T")
Publish = Callable[[OperationView], None]

_SHOWN_LINES = 200
_PROGRESS_EVERY = 0.1
"""Seconds between two published figures of one step."""
_UNDO = "undo"
"""Fact: why it is being undone, and how it ends then."""
_NO_NOTE = "no_note"
"""Code of a step that finds nothing of what an earlier one should have noted."""
_BEGUN = (StepState.RUNNING, StepState.DONE, StepState.FAILED)


class LedgerThread:
    """The ledger's own thread: its fsync never blocks the event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")

    async def do(self, job: Callable[[Ledger], T]) -> T:
        """Run ``job``; once begun it is finished, also when this task is being cancelled."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, job, self.ledger))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True)


class Execution:
    """One operation under way: the :class:`~pfms_ha_tui.operations.step.StepRun` of its steps."""

    def __init__(
        self,
        operation: Operation,
        entry: Entry,
        *,
        ledger: LedgerThread,
        clock: Clock,
        publish: Publish | None,
    ) -> None:
        self._operation = operation
        self._entry = entry
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._steps = list(entry.steps)
        self._facts = dict(entry.facts)
        self._lines = list(entry.log)
        self._unwritten: list[tuple[float, str]] = []
        self._state = OperationState.RUNNING
        self._finished_at: float | None = None
        self._text: str | None = None
        self._place: int | None = None
        self._undoing = False
        self._progress: Progress | None = None
        self._rate_from: tuple[float, float] | None = None
        self._published_at = 0.0
        self._cancelled_by: str | None = None

    # What a step sees

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        return self._clock

    @property
    def number(self) -> int:
        """The operation's number."""
        return self._entry.id

    @property
    def actor(self) -> str:
        """Who ordered it."""
        return self._entry.actor

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be changed."""
        return self._entry.dry_run

    async def note(self, **facts: object) -> None:
        """Journal facts before this returns."""
        for key, fact in facts.items():
            self._facts[key] = msgspec.json.encode(fact).decode()
        if not self.dry_run:
            await self._write(Change(facts=facts))

    def fact(self, key: str, kind: type[T]) -> T | None:
        """A noted fact, or ``None``."""
        value = self._facts.get(key)
        if value is None or value == "null":
            return None
        try:
            return msgspec.json.decode(value, type=kind)
        except msgspec.DecodeError as error:
            raise OperationError(f"the ledger's note {key!r} cannot be read: {error}") from error

    def need(self, key: str, kind: type[T]) -> T:
        """A noted fact that must be there."""
        value = self.fact(key, kind)
        if value is None:
            raise OperationError(f"the ledger has no note {key!r}", code=_NO_NOTE)
        return value

    def say(self, text: str) -> None:
        """One line for the log; it reaches the disk with the next transition."""
        line = mask(text)
        self._lines = [*self._lines, line][-_SHOWN_LINES:]
        self._unwritten.append((self.clock.wall(), line))
        self._show()

    def progress(self, done: float, total: float | None, unit: str) -> None:
        """How far the step is."""
        now = self.clock.mono()
        if self._rate_from is None or done < self._rate_from[1]:
            self._rate_from = (now, done)
        since, from_done = self._rate_from
        rate = (done - from_done) / (now - since) if now > since and done > from_done else None
        eta = (total - done) / rate if rate and total is not None and total >= done else None
        self._progress = Progress(done=done, total=total, unit=unit, rate=rate, eta=eta)
        if now - self._published_at >= _PROGRESS_EVERY:
            self._show()

    def checkpoint(self) -> None:
        """A safe point."""
        if self._cancelled_by is not None and not self._undoing:
            raise Cancelled(f"cancelled by {self._cancelled_by}")

    # What the caller sees

    def cancel(self, actor: str) -> None:
        """Ask for the end at the next safe point, with everything undone.

        Raises:
            OperationError: there is no safe point left.
        """
        if not self._cancellable():
            raise OperationError(
                "this operation can no longer be cancelled", hint="it is past its last safe point"
            )
        self._cancelled_by = actor
        self.say(f"{actor} asked to cancel")

    @property
    def view(self) -> OperationView:
        """As it is shown now."""
        return OperationView(
            id=self.number,
            kind=self._operation.kind,
            title=self._operation.title,
            state=self._state,
            actor=self._entry.actor,
            dry_run=self.dry_run,
            steps=tuple(
                StepView(
                    name=entry.name,
                    title=entry.title,
                    state=entry.state,
                    preview=entry.preview,
                    node=entry.node,
                    progress=self._progress if place == self._place else None,
                    started_at=entry.started_at,
                    finished_at=entry.finished_at,
                    text=entry.text,
                )
                for place, entry in enumerate(self._steps)
            ),
            started_at=self._entry.started_at,
            finished_at=self._finished_at,
            cancellable=self._cancellable(),
            text=self._text,
            log=tuple(self._lines),
        )

    # Ways through the steps

    async def forward(self) -> OperationView:
        """Run from the first step on."""
        return await self._guarded(lambda: self._forward(0), "not started")

    async def after_crash(self, phase: Phase) -> OperationView:
        """Decide what becomes of it, then do that."""
        return await self._guarded(lambda: self._after_crash(phase), None)

    async def rehearse(self) -> OperationView:
        """Ask every step whether it would work; nothing is changed."""
        return await self._guarded(self._rehearse, "would not start")

    async def _guarded(self, way: Callable[[], Awaitable[None]], without_start: str | None) -> OperationView:
        self._show()
        try:
            try:
                await self._operation.open(self)
            except PfmsError as error:
                if without_start is None:
                    raise
                await self._finish(OperationState.FAILED, f"{without_start}: {error}")
            else:
                await way()
                await self._conclude()
        except asyncio.CancelledError:
            await self._interrupt("interrupted: the worker was stopped")
            raise
        except PfmsError as error:
            await self._interrupt(f"interrupted: {error}")
        except Exception as error:
            log.exception("operation %s", self.number)
            await self._interrupt(f"interrupted by a fault of this program: {type(error).__name__}: {error}")
        finally:
            await self._operation.close()
        return self.view

    async def _conclude(self) -> None:
        if self.dry_run or self._finished_at is None:
            return
        try:
            await self._operation.concluded(self._state, self._text or "", self)
        except Exception as error:
            log.warning("operation %s, after its end: %s", self.number, error)
            self.say(f"after the end: {error}")
        await self._write(Change(), must=False)
        self._show()

    async def _after_crash(self, phase: Phase) -> None:
        if phase is Phase.UNDO:
            why, end = self.need(_UNDO, tuple[str, OperationState])
            await self._undo(why, end)
            return
        if (failed := self._failed_for_good()) is not None:
            await self._end_failed(*failed)
            return
        recovery = await self._operation.recovery(self._states(), self)
        self.say(f"after the interruption: {recovery}")
        if recovery is Recovery.ROLL_BACK:
            await self._undo("rolled back after an interruption", OperationState.FAILED)
        elif recovery is Recovery.GIVE_UP:
            await self._finish(OperationState.FAILED, "given up after an interruption")
        else:
            await self._write(Change(state=OperationState.RUNNING))
            await self._forward(self._next())

    def _next(self) -> int:
        unfinished = (StepState.WAITING, StepState.RUNNING)
        places = (place for place, step in enumerate(self._steps) if step.state in unfinished)
        return next(places, len(self._steps))

    def _failed_for_good(self) -> tuple[Step, str] | None:
        for step, entry in zip(self._operation.steps, self._steps, strict=True):
            if entry.state is StepState.FAILED and step.on_failure is not OnFailure.GO_ON:
                return step, entry.text or ""
        return None

    def _states(self) -> dict[str, StepState]:
        return {step.name: step.state for step in self._steps}

    async def _forward(self, start: int) -> None:
        for place in range(start, len(self._steps)):
            step = self._operation.steps[place]
            if step.cancel_before and self._cancelled_by is not None:
                await self._undo(f"cancelled by {self._cancelled_by}", OperationState.CANCELLED)
                return
            try:
                await self._run_step(place, step)
            except Cancelled as cancelled:
                await self._set(place, StepState.FAILED, text=cancelled.reason, must=False)
                await self._undo(cancelled.reason, OperationState.CANCELLED)
                return
            except PfmsError as error:
                if not await self._after_failure(place, step, error):
                    return
        broken = [step for step in self._steps if step.state is StepState.FAILED]
        text = self._operation.outcome(self)
        if broken:
            text += "; but: " + "; ".join(f"{step.title}: {step.text}" for step in broken)
        await self._finish(OperationState.FAILED if broken else OperationState.DONE, text)

    async def _run_step(self, place: int, step: Step) -> None:
        await self._set(place, StepState.RUNNING)
        try:
            text = await self._attempt(step, step.run)
            await self._attempt(step, step.verify)
        except Skip as skipped:
            await self._set(place, StepState.SKIPPED, text=skipped.reason)
        else:
            await self._set(place, StepState.DONE, text=text)

    async def _attempt(self, step: Step, act: Callable[[StepRun], Awaitable[T]]) -> T:
        """Run a part of a step; a fault of this program there is a failure of that step."""
        try:
            return await act(self)
        except PfmsError:
            raise
        except Exception as error:
            log.exception("operation %s, step %s", self.number, step.name)
            raise OperationError(f"a fault of this program: {type(error).__name__}: {error}") from error

    async def _after_failure(self, place: int, step: Step, error: PfmsError) -> bool:
        """Whether the operation goes on."""
        text = mask(str(error))
        log.warning("operation %s, step %s: %s", self.number, step.name, text)
        await self._set(place, StepState.FAILED, text=text, must=False)
        if step.on_failure is OnFailure.GO_ON:
            return True
        await self._end_failed(step, text)
        return False

    async def _end_failed(self, step: Step, text: str) -> None:
        why = f"{step.title}: {text}"
        if step.on_failure is OnFailure.STOP or self._operation.committed(self._states()):
            await self._finish(OperationState.FAILED, why)
        else:
            await self._undo(why, OperationState.FAILED)

    async def _undo(self, why: str, end: OperationState) -> None:
        """Undo every step that was begun, the last one first, then end as ``end``."""
        self._undoing = True
        why = mask(why)
        self._facts[_UNDO] = msgspec.json.encode((why, end)).decode()
        self.say(f"undoing: {why}")
        await self._write(Change(phase=Phase.UNDO, facts={_UNDO: (why, end)}), must=False)
        undone, stays = 0, []
        for place in reversed(range(len(self._steps))):
            if self._steps[place].state not in _BEGUN:
                continue
            step = self._operation.steps[place]
            try:
                text = await self._attempt(step, step.undo)
            except PfmsError as error:
                raise OperationError(
                    f"{why}; and “{step.title}” could not be undone: {error}",
                    hint="it is tried again when the node can be asked; nothing else is started meanwhile",
                    code="undo_failed",
                ) from error
            if step.stays is not None:
                stays.append(step.stays)
            if text is not None:
                undone += 1
                self.say(f"{step.title}: {text}")
                await self._set(place, StepState.UNDONE, text=text, must=False)
        tail = "everything was undone" if undone else "nothing had been changed"
        if stays:
            tail = " and ".join(stays)
        await self._finish(end, f"{why}; {tail}")

    async def _rehearse(self) -> None:
        why: str | None = None
        for place, step in enumerate(self._operation.steps):
            await self._set(place, StepState.RUNNING)
            try:
                text = await self._attempt(step, step.rehearse)
            except Skip as skipped:
                await self._set(place, StepState.SKIPPED, text=skipped.reason)
            except PfmsError as error:
                if why is not None and error.code == _NO_NOTE:
                    text = "cannot be rehearsed: it rests on a step that would not work"
                    await self._set(place, StepState.SKIPPED, text=text)
                    continue
                why = why or mask(str(error))
                await self._set(place, StepState.FAILED, text=mask(str(error)))
            else:
                await self._set(place, StepState.DONE, text=text)
        text = "dry run: it would work" if why is None else f"dry run: it would not work: {why}"
        await self._finish(OperationState.DONE if why is None else OperationState.FAILED, text)

    # Journal and show

    async def _set(self, place: int, state: StepState, *, text: str | None = None, must: bool = True) -> None:
        old = self._steps[place]
        now = self.clock.wall()
        if state is StepState.RUNNING:
            self._place, self._progress, self._rate_from = place, None, None
            entry = replace(
                old,
                state=state,
                started_at=now,
                finished_at=None,
                text=None,
                preview=preview_of(self._operation.steps[place]),
            )
        else:
            entry = replace(old, state=state, finished_at=now, text=None if text is None else mask(text))
        if state is StepState.DONE:
            # what is done is done, also if the ledger cannot be told: the step of no return counts from here
            self._steps[place] = entry
        await self._write(Change(step=place, entry=entry), must=must)
        self._steps[place] = entry
        self._show()

    async def _finish(self, state: OperationState, text: str) -> None:
        self._place = None
        self._state, self._text, self._finished_at = state, mask(text), self.clock.wall()
        self.say(self._text)
        await self._write(Change(state=state, text=self._text, finished_at=self._finished_at), must=False)
        self._show()

    async def _interrupt(self, text: str) -> None:
        self._state, self._text = OperationState.INTERRUPTED, mask(text)
        self.say(self._text)
        await self._write(Change(state=OperationState.INTERRUPTED, text=self._text), must=False)
        self._show()

    async def _write(self, change: Change, *, must: bool = True) -> None:
        """Write a transition; past the step of no return, and while undoing, the work goes on without it."""
        lines, self._unwritten = self._unwritten, []
        complete = replace(change, lines=lines)
        try:
            await self._ledger.do(lambda ledger: ledger.write(self.number, complete))
        except LedgerError as error:
            self._unwritten = lines
            if must and not self._undoing and not self._operation.committed(self._states()):
                raise
            log.error("operation %s goes on without its ledger: %s", self.number, error)

    def _cancellable(self) -> bool:
        if self.dry_run or self._undoing or self._state is not OperationState.RUNNING:
            return False
        place = -1 if self._place is None else self._place
        return any(step.cancel_before for step in self._operation.steps[place + 1 :])

    def _show(self) -> None:
        self._published_at = self.clock.mono()
        if self._publish is not None:
            self._publish(self.view)
