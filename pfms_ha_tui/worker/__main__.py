"""``python -m pfms_ha_tui.worker``: become a worker of its own session, then say whether it serves.

See :mod:`pfms_ha_tui.worker.spawn`. In the foreground, for systemd, it is ``pfms-ha-tui worker``.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pfms_ha_tui.worker.spawn import ALREADY_RUNNING

_READY = b"r"
_RUNNING = b"a"


def main() -> int:
    """The parent's exit status: 0 once the worker in the child serves."""
    parser = argparse.ArgumentParser(prog="python -m pfms_ha_tui.worker", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="path of config.toml")
    arguments = parser.parse_args()
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        outcome = os.read(reader, 1)  # nothing when the child is gone
        return {_READY: 0, _RUNNING: ALREADY_RUNNING}.get(outcome, 1)
    os.close(reader)
    os._exit(_child(arguments.config, writer))


def _child(config: Path, writer: int) -> int:
    from pfms_ha_tui.config import load
    from pfms_ha_tui.errors import PfmsError
    from pfms_ha_tui.masking import mask
    from pfms_ha_tui.worker.main import EXIT_FAILED, run_worker
    from pfms_ha_tui.worker.orders import make_hands

    def ready() -> None:
        os.write(writer, _READY)
        os.close(writer)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)

    try:
        return run_worker(load(config), foreground=False, on_ready=ready, hands=make_hands)
    except PfmsError as error:
        if error.code == "running":
            os.write(writer, _RUNNING)
        sys.stderr.write(f"pfms-ha-tui worker: {mask(str(error))}\n")
    except Exception as error:
        sys.stderr.write(f"pfms-ha-tui worker: {mask(f'{type(error).__name__}: {error}')}\n")
    sys.stderr.flush()
    return EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
