"""A real cluster on this machine: real servers, replication and SSH, and a Pandora database in use.

The demo, the tests and the benchmarks share it::

    from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

    async with Sandbox.start(SandboxOptions(nodes=2, flavor=Flavor.MARIADB)) as sandbox:
        node1, node2 = sandbox.nodes            # node1 is the master and writable, node2 follows it,
        read-only await node1.sql("SELECT @@server_id")   # administrator, through the Unix socket: works past
        network faults await sandbox.writer.wait_for_rows(5)   # a Pandora server writes all the time, to the
        host in the hosts file

        node1.kill()                            # SIGKILL mysqld;  .freeze() .thaw()  SIGSTOP, SIGCONT await
        node1.start()                     # by the node's service control;  .stop() .restart() .wait_gone()
        await node2.ssh.stop()                  # its SSH server refuses;  .start() .freeze() .thaw() await
        node2.block()                     # its address drops packets (root);  .unblock()

        sandbox.config_path                     # config.toml for the worker; 0600
        sandbox.pandora_conf, sandbox.hosts_file, sandbox.restarts()
        sandbox.accounts.admin.user, sandbox.accounts.admin.password
        await sandbox.writer.pause()            # then: rows acknowledged and not on node2
        await sandbox.writer.lost_on(node2)
        sandbox.describe()                      # the same for JSON

``sandbox = await Sandbox.start(options)`` and ``await sandbox.stop()`` do the same without a block. A sandbox
is not tied to the event loop that started it. Everything fails with a
:class:`~pfms_ha_tui.errors.SandboxError`.

How it is built: each node is a plain process on its own free loopback address (127.0.0.11 and following),
port 3306, with its own datadir, options file, socket and log below one temporary directory, copied from a
template datadir in the cache folder; an SSH server (port 2222, key only) runs commands for real, with a
``systemctl`` and ``service`` that control this node's server. With ``netns=True`` every node and the worker
live in network namespaces of their own, and links between them can be cut. Every process carries the
environment variable ``PFMS_SANDBOX``; a guardian process removes all of them and the directory when the owner
ends, however it ends.

``python -m pfms_ha_tui.sandbox fetch`` gets a MySQL server into the cache folder and prints where it is.
"""

from pfms_ha_tui.sandbox.node import SandboxNode, SshEndpoint
from pfms_ha_tui.sandbox.options import Flavor, SandboxOptions
from pfms_ha_tui.sandbox.sandbox import Sandbox
from pfms_ha_tui.sandbox.writer import WriterStats
from pfms_ha_tui.sandbox.writing import SandboxWriter, SequencedRow

__all__ = [
    "Flavor",
    "Sandbox",
    "SandboxNode",
    "SandboxOptions",
    "SandboxWriter",
    "SequencedRow",
    "SshEndpoint",
    "WriterStats",
]
