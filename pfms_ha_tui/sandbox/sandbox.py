"""Starting and stopping a sandbox: its parts in the right order, at the same time where they can be."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import files, keys, shell
from pfms_ha_tui.sandbox.files import SandboxPaths
from pfms_ha_tui.sandbox.mycnf import Accounts, NodeFiles, settings, write_accounts, write_config
from pfms_ha_tui.sandbox.namespaces import NamespaceNetwork
from pfms_ha_tui.sandbox.network import LoopbackNetwork, Network
from pfms_ha_tui.sandbox.node import NetworkFault, SandboxNode
from pfms_ha_tui.sandbox.options import SSH_PORT, SandboxOptions
from pfms_ha_tui.sandbox.ownership import Ownership
from pfms_ha_tui.sandbox.programs import ServerProgram, find_program
from pfms_ha_tui.sandbox.replication import follow, open_master, wait_until_caught_up, wait_until_replicating
from pfms_ha_tui.sandbox.seed import Seed, SeedNode
from pfms_ha_tui.sandbox.sqlclient import SqlClient
from pfms_ha_tui.sandbox.template import copy_datadir, template_datadir
from pfms_ha_tui.sandbox.writing import SandboxWriter


class Sandbox:
    """A real cluster on this machine; see the package's docstring for how it is used."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.accounts = Accounts.random()
        self.nodes: tuple[SandboxNode, ...] = ()
        self._paths: SandboxPaths | None = None
        self._network: Network | None = None
        self._writer: SandboxWriter | None = None
        self._ownership: Ownership | None = None

    @staticmethod
    def start(options: SandboxOptions | None = None) -> Starting:
        """Start a sandbox: ``async with Sandbox.start() as sandbox`` or ``await Sandbox.start()``.

        Raises:
            SandboxError: something it needs is missing or did not come up; nothing is left behind.
        """
        return Starting(options or SandboxOptions())

    @property
    def root(self) -> Path:
        """Everything of this sandbox is below this directory."""
        return self.paths.root

    @property
    def paths(self) -> SandboxPaths:
        """Where things are."""
        if self._paths is None:
            raise SandboxError("the sandbox does not run")
        return self._paths

    @property
    def config_path(self) -> Path:
        """A config.toml for this cluster."""
        return self.paths.config

    @property
    def pandora_conf(self) -> Path:
        """A pandora_server.conf for this cluster."""
        return self.paths.pandora_conf

    @property
    def hosts_file(self) -> Path:
        """The pandora_ha_hosts.conf that the writer follows."""
        return self.paths.hosts_file

    @property
    def master(self) -> SandboxNode:
        """The node that started as master."""
        return self.nodes[0]

    @property
    def writer(self) -> SandboxWriter:
        """The writer.

        Raises:
            SandboxError: this sandbox was started without one.
        """
        if self._writer is None:
            raise SandboxError("this sandbox has no writer")
        return self._writer

    @property
    def guardian_pid(self) -> int | None:
        """The process that clears everything away when this one ends."""
        return self._ownership.guardian_pid if self._ownership is not None else None

    @property
    def exec_prefix(self) -> tuple[str, ...]:
        """Argument list that runs a program where the worker belongs: it reaches the nodes from there."""
        return self._network.worker_prefix if self._network is not None else ()

    @property
    def environment(self) -> dict[str, str]:
        """Environment for a Python process that shall end with this sandbox, a worker for one."""
        return shell.python_environment(self.root)

    def node(self, label: str) -> SandboxNode:
        """The node of that label.

        Raises:
            SandboxError: there is none.
        """
        for node in self.nodes:
            if node.label == label:
                return node
        raise SandboxError(f"this sandbox has no node {label}")

    @property
    def partitions(self) -> NamespaceNetwork:
        """The network of a sandbox with ``netns``: ``cut``, ``heal``, ``entered``.

        Raises:
            SandboxError: this sandbox has no namespaces.
        """
        if not isinstance(self._network, NamespaceNetwork):
            raise SandboxError("only a sandbox with network namespaces has partitions", hint="netns=True")
        return self._network

    def restarts(self) -> list[tuple[float, str]]:
        """Calls of the Pandora service command so far: when (seconds since the epoch), and its arguments."""
        calls = []
        for line in self.paths.restarts.read_text().splitlines():
            moment, _, arguments = line.partition(" ")
            calls.append((float(moment), arguments))
        return calls

    def describe(self) -> dict[str, Any]:
        """What it takes to use it, ready for JSON; it holds the administrator's password."""
        return {
            "config": str(self.config_path),
            "root": str(self.root),
            "flavor": str(self.options.flavor),
            "pandora_conf": str(self.pandora_conf),
            "hosts_file": str(self.hosts_file),
            "nodes": [
                {
                    "label": node.label,
                    "host": node.host,
                    "port": node.port,
                    "mysqld_pid": node.mysqld_pid,
                    "ssh_port": node.ssh_port,
                    "datadir": str(node.datadir),
                }
                for node in self.nodes
            ],
            "admin": {"user": self.accounts.admin.user, "password": self.accounts.admin.password},
            "exec_prefix": list(self.exec_prefix),
        }

    async def wait_for_slaves(self, timeout: float = 30.0) -> None:
        """Return when every other node has applied all that node1 has in its binary log now.

        Raises:
            SandboxError: one has not within ``timeout`` seconds, or does not replicate.
        """
        for slave in self.nodes[1:]:
            await asyncio.to_thread(wait_until_caught_up, slave, self.master, timeout=timeout)

    async def stop(self) -> None:
        """End every process and remove every file. May be called again.

        Raises:
            SandboxError: something could not be removed.
        """
        await asyncio.shield(asyncio.to_thread(self.stop_now))

    def stop_now(self) -> None:
        """As :meth:`stop`, for callers without an event loop."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for node in self.nodes:
            node.ssh.kill()
        ownership, self._ownership = self._ownership, None
        try:
            if ownership is not None:
                ownership.release()
        finally:
            if self._network is not None:
                self._network.close()
                self._network = None

    def start_now(self) -> None:
        """Start everything, without an event loop; on any failure, Ctrl-C included, nothing is left.

        Raises:
            SandboxError: as for :meth:`start`.
        """
        try:
            self._start_parts()
        except BaseException:
            with contextlib.suppress(SandboxError):
                self.stop_now()
            raise

    def _start_parts(self) -> None:
        options = self.options
        program = find_program(options.flavor)
        template = template_datadir(program)
        self._ownership = ownership = Ownership(options.root)
        self._paths = paths = SandboxPaths(ownership.root)
        self._network = network = _make_network(options, paths.root)
        ownership.guard(network.descriptors)
        self._write_common_files()
        self.nodes = tuple(
            self._make_node(number, host, program, network)
            for number, host in enumerate(network.addresses, start=1)
        )
        self._write_known_hosts()
        seed = Seed(
            flavor=options.flavor,
            rows=options.rows,
            base=int(time.time()),
            version=program.series,
            nodes=tuple(
                SeedNode(label=node.label, host=node.host, ssh_port=node.ssh_port) for node in self.nodes
            ),
        )
        with ThreadPoolExecutor(max_workers=min(4, len(self.nodes)), thread_name_prefix="sandbox") as pool:
            for node in self.nodes:
                node.ssh.spawn()
            list(
                pool.map(
                    partial(self._first_start, program=program, template=template, seed=seed), self.nodes
                )
            )
            master, slaves = self.nodes[0], self.nodes[1:]
            follow_master = partial(
                follow, master=master, account=self.accounts.replication, gtid=options.gtid
            )
            list(pool.map(follow_master, slaves))
            open_master(master)
            list(pool.map(wait_until_replicating, slaves))
            files.write_pandora_files(paths, self.nodes, self.accounts)
            files.write_config(paths, self.nodes, mode=options.mode)
            if options.writer:
                self._writer = SandboxWriter(
                    paths, self.accounts.pandora, rate=options.writer_rate, prefix=network.worker_prefix
                )
            list(pool.map(lambda node: node.ssh.wait_ready(), self.nodes))

    def _write_common_files(self) -> None:
        for directory in (self.paths.ssh, self.paths.state_dir, self.paths.pandora):
            directory.mkdir(mode=0o700)
        public = keys.write_key(self.paths.ssh_key)
        (self.paths.ssh / "authorized_keys").write_text(f"{public}\n")

    def _make_node(self, number: int, host: str, program: ServerProgram, network: Network) -> SandboxNode:
        options, label = self.options, f"node{number}"
        directory = self.root / label
        for name in ("bin", "home", "tmp"):
            (directory / name).mkdir(parents=True)
        node_files = NodeFiles(directory=directory)
        node = SandboxNode(
            label=label,
            host=host,
            ssh_port=SSH_PORT,
            server_id=number,
            flavor=options.flavor,
            service=program.service_names[0],
            files=node_files,
            root=self.root,
            client=SqlClient(label=label, socket=node_files.socket, account=self.accounts.admin),
            prefix=network.prefixes[number - 1],
            fault=NetworkFault(
                block=partial(network.block, number - 1), unblock=partial(network.unblock, number - 1)
            ),
        )
        files.write_node_programs(
            node, program, self.paths, restart_after=options.restart_after, ssh=options.ssh_between_nodes
        )
        keys.write_key(directory / "ssh_host_key")
        environment = shell.node_environment(self.root, directory)
        files.write_sshd_settings(
            node, self.paths, environment, banner=options.ssh_banner, motd=options.ssh_motd
        )
        return node

    def _write_known_hosts(self) -> None:
        lines = [
            f"[{node.host}]:{node.ssh_port} {(node.directory / 'ssh_host_key.pub').read_text().strip()}\n"
            for node in self.nodes
        ]
        self.paths.known_hosts.write_text("".join(lines))

    def _first_start(self, node: SandboxNode, *, program: ServerProgram, template: Path, seed: Seed) -> None:
        """Data, accounts, first start, seed; then the config of all later starts, which no password is in."""
        copy_datadir(template, node.datadir)
        entries = settings(
            program,
            self.options,
            label=node.label,
            host=node.host,
            server_id=node.server_id,
            files=node.files,
        )
        write = partial(
            write_config, node.files, entries, flavor=node.flavor, read_only=self.options.boot_read_only
        )
        write_accounts(node.files, self.accounts)
        write(first_start=True)
        node.start_now()
        node.files.init_file.unlink()
        write(first_start=False)
        seed.apply(node.client)


class Starting:
    """A sandbox about to start: to be awaited, or entered."""

    def __init__(self, options: SandboxOptions) -> None:
        self._sandbox = Sandbox(options)

    def __await__(self) -> Generator[Any, None, Sandbox]:
        return self._run().__await__()

    async def __aenter__(self) -> Sandbox:
        return await self._run()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._sandbox.stop()

    async def _run(self) -> Sandbox:
        starting = asyncio.ensure_future(asyncio.to_thread(self._sandbox.start_now))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: let it end, then take away what it made.
            with contextlib.suppress(SandboxError):
                await starting
                await self._sandbox.stop()
            raise
        return self._sandbox


def _make_network(options: SandboxOptions, root: Path) -> Network:
    if options.netns:
        return NamespaceNetwork(root, options.nodes)
    return LoopbackNetwork(root, options.nodes)
