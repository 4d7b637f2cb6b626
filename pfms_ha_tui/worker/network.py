"""The real senses: SQL through PyMySQL in threads, hosts through SSH in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pfms_ha_tui.cluster.observation import NodeObservation, Says
from pfms_ha_tui.config.settings import ClusterSettings, NodeSettings, WitnessSettings
from pfms_ha_tui.nodes import wire
from pfms_ha_tui.nodes.connection import SqlSession
from pfms_ha_tui.nodes.details import fetch_details
from pfms_ha_tui.nodes.failures import classify
from pfms_ha_tui.nodes.prober import NodeProber
from pfms_ha_tui.nodes.shell import NodeShell
from pfms_ha_tui.worker.grants import missing_privileges
from pfms_ha_tui.worker.protocol import NodeDetails
from pfms_ha_tui.worker.senses import Prober, Shell
from pfms_ha_tui.worker.threads import in_thread


class Network:
    """See :class:`pfms_ha_tui.worker.senses.Senses`."""

    def prober(
        self, node: NodeSettings, cluster: ClusterSettings, on_observation: Callable[[NodeObservation], None]
    ) -> Prober:
        """A prober for the node, not yet started."""
        return NodeProber(node, cluster, on_observation)

    def shell(self, node: NodeSettings, cluster: ClusterSettings) -> Shell:
        """A shell on the node's host, not yet connected."""
        return NodeShell(node, cluster)

    def witness_shell(self, witness: WitnessSettings, cluster: ClusterSettings) -> Shell:
        """A shell on a witness's host, with the account and key of the first node."""
        ssh = replace(cluster.nodes[0].ssh, enabled=True, host=witness.host, port=witness.port)
        return NodeShell(NodeSettings(label=witness.host, host=witness.host, ssh=ssh), cluster)

    async def greets(self, witness: WitnessSettings, timeout: float) -> tuple[Says, str]:
        """Whether a TCP witness takes a connection. A refusal too comes from a host that is there."""

        def dial() -> tuple[Says, str]:
            try:
                wire.dial(witness.host, witness.port, timeout).close()
            except ConnectionRefusedError:
                return Says.SEES, "refused, so its host answers"
            except OSError as error:
                return Says.LOST, classify(error, where=f"{witness.host}:{witness.port}").text
            return Says.SEES, "connected"

        return await in_thread(dial, name=f"witness {witness.host}")

    async def details(self, node: NodeSettings, cluster: ClusterSettings) -> NodeDetails:
        """The node's raw answers, asked now."""
        found = await in_thread(lambda: fetch_details(node, cluster), name=f"details of {node.label}")
        return NodeDetails(
            node=found.node,
            at=found.at,
            replica_status=found.replica_status,
            variables=found.variables,
            status=found.status,
            processlist=found.processlist,
            missing=found.missing,
            binlog=found.binlog,
            binlog_sizes=found.binlog_sizes,
            sessions=found.sessions,
            grants=found.grants,
        )

    async def missing_grants(self, node: NodeSettings, cluster: ClusterSettings) -> tuple[str, ...]:
        """Complaints about the account's privileges."""
        return await in_thread(lambda: _missing_grants(node, cluster), name=f"grants of {node.label}")


def _missing_grants(node: NodeSettings, cluster: ClusterSettings) -> tuple[str, ...]:
    with SqlSession.open(node, cluster) as session:
        using = ""
        if not session.dialect.mariadb and session.dialect.version >= (8, 0, 0):
            roles = str(session.query("SELECT CURRENT_ROLE() AS roles")[0]["roles"])
            using = "" if roles.upper() == "NONE" else f" USING {roles}"  # quoted by the server itself
        rows = session.query(f"SHOW GRANTS FOR CURRENT_USER(){using}" if using else "SHOW GRANTS")
        lines = [str(value) for row in rows for value in row.values()]
        missing = missing_privileges(lines, session.dialect, cluster.database)
    user = cluster.admin.user
    return tuple(f"the account {user} on {node.label} lacks {what}" for what in missing)
