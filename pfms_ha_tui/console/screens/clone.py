"""The clone wizard: target, source, method, options, checks, and the plan that a label starts.

What is chosen on a page is kept in :class:`Wanted`; the worker checks it and answers with every obstacle at
once (``clone_check``). Nothing is changed before the label is typed on the last page.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from pfms_ha_tui.console import format as fmt
from pfms_ha_tui.console.actions import bindings
from pfms_ha_tui.console.ink import EMPTY, Ink, Line, clean, line, wrap
from pfms_ha_tui.console.scene import Scene
from pfms_ha_tui.console.screens.clone_pages import MethodPage, OptionsPage, SourcePage, TargetPage
from pfms_ha_tui.console.screens.clone_parts import ClonePage, Wanted
from pfms_ha_tui.console.screens.dialogs import Question
from pfms_ha_tui.console.screens.order_panel import OrderPanel
from pfms_ha_tui.console.screens.wizard import WizardScreen
from pfms_ha_tui.console.widgets.pane import Document
from pfms_ha_tui.errors import WorkerError
from pfms_ha_tui.operations.view import CloneCheck
from pfms_ha_tui.worker.protocol import CLONE_CHECK_WITHIN, Order


class ChecksPage(ClonePage):
    """What the worker found on hosts and servers."""

    TITLE = "Checks"
    KEYS = ("back", "wizard.next", "order.rehearse", "clone.give-up", "copy", "help", "quit")

    @property
    def key_ids(self) -> tuple[str, ...]:
        return self.KEYS if self.clone.can_give_up else tuple(one for one in self.KEYS if "give" not in one)

    def compose(self) -> ComposeResult:
        yield Document(classes="panel", title="Checks; nothing is changed")

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        if self.clone.checking:
            return "Asking servers and hosts; a large datadir takes a while to measure …"
        found = self.clone.found
        if found is None:
            return ""
        if found.problems:
            many = fmt.plural(len(found.problems), "thing")
            again = self.clone.key_for("order.rehearse", "f5")
            return f"{many} in the way. Put that right, then {again} checks again."
        return f"Nothing stands against it: {self.wanted.target} can be rebuilt from {found.source}."

    def enter(self) -> None:
        super().enter()
        self.clone.check()

    def rehearse(self) -> None:
        self.clone.check(again=True)

    def proceed(self) -> None:
        if not self.clone.checking:
            super().proceed()

    def why_not_next(self) -> str | None:
        found = self.clone.found
        if found is None:
            return "the checks could not be made"
        return f"{fmt.plural(len(found.problems), 'thing')} in the way" if found.problems else None

    def draw(self, scene: Scene) -> None:  # noqa: ARG002
        self.query_one(Document).paint(lambda width, _h: self._lines(width))

    def _lines(self, width: int) -> list[Line]:
        clone = self.clone
        if clone.fault is not None:
            return wrap(line(("✖ ", Ink.BAD), clean(str(clone.fault))), width, indent=2)
        found = clone.found
        if found is None or clone.checking:
            return [line(("checking …", Ink.BUSY))]
        lines: list[Line] = []
        for sign, ink, sentences in (
            ("✖", Ink.BAD, found.problems),
            ("▲", Ink.WARN, found.warnings),
            ("✔", Ink.OK, found.passed),
        ):
            for sentence in sentences:
                lines += wrap(line((f"{sign} ", ink), clean(sentence)), width, indent=2)
        if clone.can_give_up:
            key = clone.key_for("clone.give-up", "w")
            lines += [
                EMPTY,
                *wrap(
                    line(
                        ("Without room for both", Ink.STRONG),
                        " the old data can be removed before the copy: ",
                        (key, Ink.KEY),
                        " asks you about it.",
                    ),
                    width,
                ),
            ]
        elif self.wanted.give_up_old and found.cramped is not None:
            words = f"The old data of {self.wanted.target} is removed BEFORE the copy, as you confirmed."
            lines += [EMPTY, *wrap(line(("▲ ", Ink.WARN), (clean(words), Ink.STRONG)), width, indent=2)]
        return lines


class ConfirmPage(ClonePage):
    """Every command, and the label."""

    TITLE = "Confirm"
    KEYS = ("back", "order.confirm", "order.rehearse", "copy", "help", "quit")

    def compose(self) -> ComposeResult:
        yield OrderPanel()

    def about(self, scene: Scene) -> str:  # noqa: ARG002
        panel = self.query_one(OrderPanel)
        if panel.plan is None:
            return ""
        # Of what the panel shows: after a refusal it may be another plan than the one that was checked.
        title = panel.plan.operation.title
        return f"{title[:1].upper()}{title[1:]}. Read what will run."

    def enter(self) -> None:
        self.query_one(OrderPanel).ask_plan(self.wanted.order, self.clone.found)

    def draw(self, scene: Scene) -> None:
        self.query_one(OrderPanel).draw(scene)

    def proceed(self) -> None:
        self.query_one(OrderPanel).confirm()

    def rehearse(self) -> None:
        self.query_one(OrderPanel).rehearse()

    def to_copy(self) -> tuple[str, str] | None:
        return "the plan", self.query_one(OrderPanel).text()


class CloneWizard(WizardScreen):
    """Rebuild a slave, step by step."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(("clone.give-up",))

    def __init__(self, cluster: str, target: str | None):
        super().__init__(
            [TargetPage(), SourcePage(), MethodPage(), OptionsPage(), ChecksPage(), ConfirmPage()]
        )
        self.wanted = Wanted(cluster=cluster, target=target)
        self.found: CloneCheck | None = None
        """The outcome of the last check, of :attr:`wanted` as it is."""
        self.fault: WorkerError | None = None
        self.checking = False
        self._checked: Order | None = None

    @property
    def place(self) -> str:
        return f"Clone {self.wanted.target}" if self._index and self.wanted.target else "Clone"

    @property
    def node(self) -> str | None:
        return self.wanted.target

    @property
    def can_give_up(self) -> bool:
        """Whether nothing but the room for both datadirs is missing, and that was not settled yet."""
        return self.found is not None and self.found.cramped is not None and not self.wanted.give_up_old

    def choose(self, wanted: Wanted) -> None:
        """Keep a choice; what was found for another one does not count any more."""
        if wanted != self.wanted:
            if (wanted.target, wanted.source) != (self.wanted.target, self.wanted.source):
                self.found = None
                wanted = replace(wanted, give_up_old=False)
            self.wanted = wanted
        self.refresh_scene()

    def check(self, *, again: bool = False) -> None:
        """Let the worker look, unless it has looked at this very order."""
        order = self.wanted.order
        if not again and self._checked == order and (self.checking or self.found is not None):
            return
        self._checked, self.checking, self.fault = order, True, None
        self.run_worker(self._check(order), group="check", exclusive=True, exit_on_error=False)
        self.refresh_scene()

    async def _check(self, order: Order) -> None:
        try:
            found = await self.console.link.ask("clone_check", order, CloneCheck, timeout=CLONE_CHECK_WITHIN)
        except WorkerError as exc:
            self.fault, self.found = exc, None
        else:
            self.found = found
        self.checking = False
        self.refresh_scene()

    def on_order_panel_refused(self) -> None:
        """What was found does not hold any more: the pages before look anew when one goes back to them."""
        self.found, self._checked = None, None

    def give_up_old(self) -> None:
        """The key of the checks page."""
        if self.page.TITLE == ChecksPage.TITLE and self.can_give_up:
            self.ask_give_up_old()
        else:
            self.console.say("the old data can stay: there is room for both, or it is not known", "warning")

    def ask_give_up_old(self) -> None:
        """The second confirmation: no way back."""
        target = self.wanted.target or ""

        def answered(answer: str | None) -> None:
            if answer is None:
                return
            self.choose(replace(self.wanted, give_up_old=answer == "remove"))
            if self.page.TITLE == ChecksPage.TITLE:
                self.check()

        self.app.push_screen(
            Question(
                f"Remove the old data of {target} first?",
                [
                    f"If there is no room for both, the data that {target} has now is removed BEFORE the"
                    " copy begins.",
                    f"Should the copy fail, {target} has no data until another resync succeeds. Where there"
                    " is room for both, the old data is kept all the same.",
                ],
                [("keep", "Keep the old data"), ("remove", f"Remove the old data of {target} first")],
            ),
            answered,
        )
