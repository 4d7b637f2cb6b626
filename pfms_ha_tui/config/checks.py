"""What a single value cannot show: thresholds out of order, doubles, files that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.config import files
from pfms_ha_tui.config.faults import nearest
from pfms_ha_tui.config.kinds import spell
from pfms_ha_tui.config.settings import HostKeys, NodeSettings, Timeouts, Tls

OWN_THEMES = ("dark", "light", "colour-blind")
TEXTUAL_THEMES = (
    "ansi-dark",
    "ansi-light",
    "atom-one-dark",
    "atom-one-light",
    "catppuccin-frappe",
    "catppuccin-latte",
    "catppuccin-macchiato",
    "catppuccin-mocha",
    "dracula",
    "flexoki",
    "gruvbox",
    "monokai",
    "nord",
    "rose-pine",
    "rose-pine-dawn",
    "rose-pine-moon",
    "solarized-dark",
    "solarized-light",
    "textual-dark",
    "textual-light",
    "tokyo-night",
)
"""Listed, because asking Textual costs half a second; a test compares."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong with a key of a cluster, or of the node at ``node`` (counted from 0)."""

    key: str
    reason: str
    node: int | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class _Order:
    """``small`` must not be more than ``large``, else ``why``.

    A default that stands in the way of a value that was set gives way, except where that would
    weaken a guard: ``max_lag`` is never raised.
    """

    small: str
    large: str
    why: str
    factor: float = 1.0
    raisable: bool = True


_ORDERS = (
    _Order("retry_gap", "unresponsive_after", "retries would outlast the judgement"),
    _Order("read_timeout", "unresponsive_after", "a probe would wait longer than it takes to be hung"),
    _Order("interval", "stale_after", "every observation would be stale", factor=2.0),
    _Order("unresponsive_after", "isolation_hold", "unreachable needs more evidence than hung"),
    _Order("connect_timeout", "isolation_hold", "one attempt would outlast the judgement"),
    _Order("stale_after", "isolation_hold", "stale observations would count in the judgement"),
    _Order("warn_lag", "max_lag", "the warning would come after the block", raisable=False),
)


def in_order(
    policy: Policy, timeouts: Timeouts, chosen: frozenset[str]
) -> tuple[Policy, Timeouts, tuple[Complaint, ...]]:
    """Thresholds that only make sense in one order, defaults fitted to those that were ``chosen``."""
    values = {
        "connect_timeout": timeouts.connect,
        "read_timeout": timeouts.read,
        "interval": policy.interval,
        "retry_gap": policy.retry_gap,
        "unresponsive_after": policy.unresponsive_after,
        "isolation_hold": policy.isolation_hold,
        "stale_after": policy.stale_after,
        "warn_lag": policy.warn_lag,
        "max_lag": policy.max_lag,
    }
    complaints: list[Complaint] = []
    for order in _ORDERS:
        small, large = values[order.small], values[order.large]
        if small * order.factor <= large:
            continue
        if order.raisable and order.large not in chosen:
            values[order.large] = small * order.factor
        elif order.small not in chosen:
            values[order.small] = large / order.factor
        else:
            limit = "more than" if order.factor == 1.0 else f"more than 1/{order.factor:g} of"
            reason = f"is {spell(small)}, {limit} {order.large} ({spell(large)}): {order.why}"
            complaints.append(Complaint(order.small, reason))
    fitted_policy = replace(
        policy,
        interval=values["interval"],
        retry_gap=values["retry_gap"],
        unresponsive_after=values["unresponsive_after"],
        isolation_hold=values["isolation_hold"],
        stale_after=values["stale_after"],
        warn_lag=values["warn_lag"],
    )
    fitted_timeouts = replace(timeouts, connect=values["connect_timeout"], read=values["read_timeout"])
    return fitted_policy, fitted_timeouts, tuple(complaints)


def doubles(nodes: Sequence[NodeSettings]) -> Iterator[Complaint]:
    """Labels and addresses that two nodes share; the second one is blamed."""
    labels: dict[str, str] = {}
    addresses: dict[tuple[str, int], str] = {}
    for place, node in enumerate(nodes):
        # Labels are typed to confirm, so two that differ in case alone are one too many.
        if node.label.lower() in labels:
            yield Complaint("label", f"{node.label} is already the label of another node", place)
        address = (node.host.lower(), node.port)
        if address in addresses:
            yield Complaint("host", f"{node.host}:{node.port} is already {addresses[address]}", place)
        labels.setdefault(node.label.lower(), node.label)
        addresses.setdefault(address, node.label)


def unreadable(tls: Tls, nodes: Sequence[NodeSettings]) -> Iterator[Complaint]:
    """Keys and certificates that cannot be read, each named once."""
    if tls.key is not None and tls.cert is None:
        yield Complaint("tls_key", "is given without tls_cert")
    wanted: dict[Path, tuple[str, int | None]] = {}
    for key, path in (("tls_ca", tls.ca), ("tls_cert", tls.cert), ("tls_key", tls.key)):
        if path is not None:
            wanted.setdefault(path, (key, None))
    for place, node in enumerate(nodes):
        if node.ssh.enabled and node.ssh.key is not None:
            wanted.setdefault(node.ssh.key, ("ssh_key", place))
    for path, (key, at) in wanted.items():
        if (why := files.why_unreadable(path)) is not None:
            yield Complaint(key, f"{path} {why.reason}", at, why.hint)


def doubtful(nodes: Sequence[NodeSettings]) -> Iterator[str]:
    """What will probably not work as meant."""
    for node in nodes:
        known = node.ssh.known_hosts
        strict = node.ssh.enabled and node.ssh.host_keys is HostKeys.STRICT
        if strict and known is not None and not files.exists(known):
            yield f"{known} (ssh_known_hosts) does not exist, so no host key is known and SSH will be refused"


def unknown_theme(theme: str) -> tuple[str, str | None] | None:
    """Why there is no such theme, and the nearest one that there is."""
    known = (*OWN_THEMES, *TEXTUAL_THEMES)
    return None if theme in known else (f'there is no theme "{theme}"', nearest(theme, known))
