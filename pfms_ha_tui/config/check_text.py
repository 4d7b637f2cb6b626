"""The text of ``pfms-ha-tui config check``."""

from __future__ import annotations

from pfms_ha_tui.config.faults import clean
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.errors import ConfigError


def render_check(outcome: Settings | ConfigError) -> str:
    """What was read from where, and what counts; or every fault. Secrets are masked."""
    if isinstance(outcome, ConfigError):
        return "".join(f"{clean(line)}\n" for line in outcome.faults)
    return "".join(f"{cluster.name}: {len(cluster.nodes)} nodes\n" for cluster in outcome.clusters)
