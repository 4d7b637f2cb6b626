"""The banner: what is wrong, what would happen now, and how far this can be believed."""

from __future__ import annotations

from pfms_ha_tui.cluster.diagnosis import Severity
from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.glyphs import PAUSED, RUNS, SEVERITY, SHOUT, kind_words
from pfms_ha_tui.console.ink import Ink, Line, Span, clean, crop, line, width_of, wrap
from pfms_ha_tui.console.scene import Phase, Scene
from pfms_ha_tui.operations.view import OperationState, OperationView, StepState

_QUIET = (Severity.OK, Severity.INFO)


def banner_lines(scene: Scene, width: int, most: int = 4) -> list[Line]:
    """One to ``most`` lines; never empty."""
    lines = _connection(scene, width)
    if scene.state is not None:
        lines += _cluster(scene, width, most - len(lines)) if not lines else _last_known(scene, width)
    return lines[:most] or [line(" ")]


def _connection(scene: Scene, width: int) -> list[Line]:
    """What to know about the worker before anything else; nothing while all is well."""
    board, age = scene.board, scene.data_age
    problem = board.problem
    reason = clean(str(problem)) if problem else ""
    match board.phase:
        case Phase.CONNECTING:
            return [crop(line(" ", (" CONNECTING ", Ink.SHOUT_UNKNOWN), "  to the worker…"), width)]
        case Phase.STARTING:
            return [
                crop(
                    line(" ", (" STARTING ", Ink.SHOUT_UNKNOWN), "  no worker was running; starting one…"),
                    width,
                )
            ]
        case Phase.FAILED:
            return wrap(
                line(" ", (" NO WORKER ", Ink.SHOUT_BAD), f"  {reason}.  Trying again…"),
                width,
                indent=2,
                most=3,
            )
        case Phase.LOST:
            old = f"data is {fmt.span(_whole(age))} old" if age is not None else "no data yet"
            return wrap(
                line(" ", (" WORKER LOST ", Ink.SHOUT_BAD), f"  reconnecting… {old}: {reason}"),
                width,
                indent=2,
                most=2,
            )
    if scene.state is None:
        return [
            crop(
                line(" ", (" WAITING ", Ink.SHOUT_UNKNOWN), "  for the worker's first look at the nodes…"),
                width,
            )
        ]
    if scene.stale and age is not None:
        return [
            crop(
                line(
                    " ",
                    (" WORKER SILENT ", Ink.SHOUT_BAD),
                    f"  it is connected but has said nothing for {fmt.span(_whole(age))}",
                ),
                width,
            )
        ]
    return []


def _whole(seconds: float | None) -> float | None:
    return None if seconds is None else float(int(seconds))


def _last_known(scene: Scene, width: int) -> list[Line]:
    state = scene.state
    if state is None:
        return []
    text = f"  last known: {kind_words(state.diagnosis.kind)}  {clean(state.diagnosis.text)}"
    return wrap(line((text, Ink.DIM)), width, indent=2, most=2)


def _cluster(scene: Scene, width: int, most: int) -> list[Line]:
    state = scene.state
    if state is None:
        return []
    diagnosis, readiness = state.diagnosis, state.readiness
    sign = SEVERITY[diagnosis.severity]
    head = line(
        " ", (f" {sign.glyph} {kind_words(diagnosis.kind)} ", SHOUT[diagnosis.severity]), "  ",
        (clean(diagnosis.text), Ink.PLAIN if diagnosis.severity in _QUIET else Ink.STRONG),
    )  # fmt: skip
    sentence = line((clean(readiness.sentence), Ink.PLAIN))
    lines: list[Line]
    one = (*head, Span("  "), *sentence)
    if diagnosis.severity in _QUIET and width_of(one) <= width:
        lines = [one]
    else:
        lines = wrap(head, width, indent=2, most=2)
        if diagnosis.hint and diagnosis.severity not in _QUIET:
            lines += wrap(
                line("  ", ("→ ", Ink.KEY), (clean(diagnosis.hint), Ink.PLAIN)), width, indent=4, most=2
            )
        lines += wrap(line("  ") + sentence, width, indent=2, most=1 if most < 5 else 2)
    standing = _standing(scene)
    if standing:
        lines = [*lines[: max(1, most - len(standing))], *(crop(one, width) for one in standing)]
    return lines


_UNDER_WAY = (OperationState.RUNNING, OperationState.INTERRUPTED)


def _standing(scene: Scene) -> list[Line]:
    """What holds for a while: an operation that runs, a pause, a rival, notes of the worker."""
    state = scene.state
    if state is None:
        return []
    lines: list[Line] = []
    if state.operation is not None and state.operation.state in _UNDER_WAY:
        lines.append(operation_line(state.operation))
    if state.maintenance is not None:
        pause = state.maintenance
        left = max(0.0, pause.until - scene.wall)
        lines.append(
            line(
                "  ",
                (f"{PAUSED} maintenance", Ink.WARN),
                f" until {fmt.clock(pause.until, seconds=False)} ({_minutes(left)} left): "
                f"no automatic failover. {clean(pause.reason)} ({clean(pause.by)})",
            )
        )
    if state.rival_manager:
        lines.append(line("  ", ("▲ ", Ink.WARN), clean(state.rival_manager)))
    lines += [line("  ", ("▲ ", Ink.WARN), clean(note)) for note in state.notes]
    return lines


def _minutes(seconds: float) -> str:
    return fmt.span(seconds) if seconds < 60 else fmt.span(60.0 * round(seconds / 60))


def operation_line(operation: OperationView) -> Line:
    """One line about an operation: which step of how many."""
    total = len(operation.steps)
    running = next(
        ((number, step) for number, step in enumerate(operation.steps, 1) if step.state is StepState.RUNNING),
        None,
    )
    kind = "dry run of " if operation.dry_run else ""
    text = line("  ", (f"{RUNS} {kind}{clean(operation.title)}", Ink.BUSY), f" {operation.state.value}")
    if running is None:
        return text
    number, step = running
    text += line(f", step {number} of {total}: {clean(step.title)}")
    if step.progress is not None and step.progress.total:
        text += line(f" {fmt.share(step.progress.done, step.progress.total)}")
    return text
