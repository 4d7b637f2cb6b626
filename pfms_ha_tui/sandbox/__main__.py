"""``python -m pfms_ha_tui.sandbox fetch``: get a MySQL server into the cache and print where it is."""

from __future__ import annotations

import argparse
import sys

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox.options import Flavor
from pfms_ha_tui.sandbox.programs import find_program


def main() -> int:
    """Entry point; 0 when there is a server, 1 when it cannot be had."""
    parser = argparse.ArgumentParser(prog="python -m pfms_ha_tui.sandbox", description=__doc__)
    parser.add_argument("command", choices=["fetch"], help="fetch a MySQL server")
    parser.parse_args()
    try:
        program = find_program(Flavor.MYSQL)
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{program.command[-1]} {program.series}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
