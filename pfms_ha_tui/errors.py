"""The one tree of errors that reach a person.

::

    PfmsError            anything this program refuses or fails at, told in one sentence
    ├── ConfigError      the settings are wrong; carries every fault at once
    ├── NodeError        one node could not be asked or told something
    ├── ShellError       a command through SSH could not be run, or said no
    ├── WorkerError      the worker cannot be reached, started or understood
    ├── OperationError   an operation was refused or failed, and what state that left
    └── SandboxError     the local cluster for the demo and the tests could not be had

What the caller can do is in ``hint``; the sentence in ``reason`` never holds a secret, and never
holds markup: whatever a server said is plain text.
"""

from __future__ import annotations

import shlex
from pathlib import Path

START_HINT = "start it with: pfms-ha-tui worker"
"""What to do when no worker runs."""


class PfmsError(Exception):
    """A fault with a stable code, the node it concerns, one sentence, and what to do about it."""

    code = "error"

    def __init__(
        self, reason: str, *, node: str | None = None, hint: str | None = None, code: str | None = None
    ):
        super().__init__(reason)
        self.reason = reason
        self.node = node
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        what_to_do = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.reason}{what_to_do}"


def name_config(error: PfmsError, config: Path | None) -> None:
    """Name the settings in the hint: the worker to be started is theirs, not that of the usual place's."""
    if config is not None and error.hint == START_HINT:
        error.hint = f"{START_HINT} --config {shlex.quote(str(config))}"


class ConfigError(PfmsError):
    """The settings are wrong; ``faults`` holds one clean line for each thing that is."""

    code = "config"

    def __init__(self, reason: str, *, faults: tuple[str, ...] = (), hint: str | None = None):
        super().__init__(reason, hint=hint)
        self.faults = faults or (reason,)


class NodeError(PfmsError):
    """One node could not be asked or told something over SQL."""

    code = "node"


class ShellError(PfmsError):
    """A command through SSH could not be run, or ended with an error."""

    code = "shell"


class WorkerError(PfmsError):
    """The worker cannot be reached, started or understood."""

    code = "worker"


class OperationError(PfmsError):
    """An operation was refused or failed."""

    code = "operation"


class SandboxError(PfmsError):
    """The local cluster for the demo and the tests could not be had."""

    code = "sandbox"
