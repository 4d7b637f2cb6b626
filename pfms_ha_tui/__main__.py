"""``python -m pfms_ha_tui``."""

from pfms_ha_tui.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
