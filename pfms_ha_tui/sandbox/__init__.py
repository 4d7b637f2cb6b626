"""A real cluster on this machine: real servers, replication and SSH, and a Pandora database in use.

The demo, the tests and the benchmarks share it::

    from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions

    async with Sandbox.start(SandboxOptions(nodes=2, flavor=Flavor.MARIADB)) as sandbox:
        node1, node2 = sandbox.nodes          # node1 is master and writable, node2 follows it, read-only
        await node1.sql("SELECT @@version")   # as administrator, through the Unix socket: past network faults
        await sandbox.wait_for_slaves()       # all that node1 has written is applied everywhere

        node1.kill()                          # SIGKILL;  .freeze() .thaw() .wait_gone() await node1.start()
        # by the node's service control;  .stop() .restart() .wait_answers() await node2.ssh.stop()
        # its SSH server refuses;  .start() .freeze() .thaw() await node2.block()                   # its
        address drops packets (root);  .unblock() await node2.replication()             # its replica status

        sandbox.config_path                   # a config.toml for the worker, mode 0600
        sandbox.pandora_conf, sandbox.hosts_file, sandbox.restarts()
        sandbox.accounts.admin.user, sandbox.accounts.admin.password
        sandbox.describe()                    # the same for JSON

        await sandbox.writer.wait_for_rows(5) # a Pandora server: it writes to the host in the hosts file
        await sandbox.writer.pause()          # nothing is under way any more;  .resume() .retarget(host)
        await sandbox.writer.lost_on(node2)   # rows that were acknowledged and that node2 does not have
        await sandbox.writer.stats()          # with the longest time without an acknowledged row

``sandbox = await Sandbox.start(options)`` and ``await sandbox.stop()`` do the same without a block. A sandbox
is not tied to the event loop that started it. Everything fails with a
:class:`~pfms_ha_tui.errors.SandboxError`.

With ``netns=True`` (root) every node and the worker have a network namespace, and links can be cut::

    sandbox.partitions.cut("worker", "node1")             # also "node1", "node2";  how="reject", one_way=True
    sandbox.partitions.heal("worker", "node1") [*sandbox.exec_prefix, "program"]                      # runs
    where the worker belongs with sandbox.partitions.entered(): ...                 # new sockets, threads,
    processes of this thread, too

How it is built: each node is a plain process on its own free loopback address (127.0.0.11 and following),
port 3306, with its own datadir, options file, socket and log below one temporary directory, copied from a
template datadir in the cache folder. An SSH server (port 2222, key only, user ``pandora``) runs commands for
real, with a ``systemctl``, a ``service`` and a ``sudo`` that are about this node alone. Every process carries
the environment variable ``PFMS_SANDBOX``; a guardian process removes all of them and the directory when the
owner ends, however it ends. A process given ``sandbox.environment`` ends with the sandbox too.

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
