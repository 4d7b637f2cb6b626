"""The files a sandbox writes for its nodes' shells, for Pandora, and for this program's worker."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfms_ha_tui.sandbox.mycnf import Accounts
from pfms_ha_tui.sandbox.node import SERVICE_SCRIPT, SandboxNode
from pfms_ha_tui.sandbox.programs import ServerProgram
from pfms_ha_tui.sandbox.schema import DATABASE

SSH_USER = "pandora"
CLUSTER = "sandbox"
_RUN_AS_SUDO = """\
#!/bin/bash
# Everything on a sandbox node runs as the one user there is.
while [ $# -gt 0 ]; do
  case $1 in
    -u | -g | -p | -C | -U) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *) break ;;
  esac
done
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """Where things are below the root of a sandbox."""

    root: Path

    @property
    def config(self) -> Path:
        """config.toml of this program."""
        return self.root / "config.toml"

    @property
    def state_dir(self) -> Path:
        """The worker's state directory."""
        return self.root / "worker"

    @property
    def pandora(self) -> Path:
        """The Pandora server's side."""
        return self.root / "pandora"

    @property
    def pandora_conf(self) -> Path:
        """pandora_server.conf."""
        return self.pandora / "pandora_server.conf"

    @property
    def hosts_file(self) -> Path:
        """pandora_ha_hosts.conf."""
        return self.pandora / "data_in" / "conf" / "pandora_ha_hosts.conf"

    @property
    def restarts(self) -> Path:
        """Calls of the Pandora service command: seconds since the epoch, then the arguments, a line each."""
        return self.pandora / "restarts.log"

    @property
    def writer_pid(self) -> Path:
        """Pid of the writer, for the service command."""
        return self.pandora / "writer.pid"

    @property
    def service_command(self) -> Path:
        """The script behind ``pandora_service_cmd``."""
        return self.pandora / "pandora_service"

    @property
    def ssh(self) -> Path:
        """Client key and known_hosts."""
        return self.root / "ssh"

    @property
    def ssh_key(self) -> Path:
        """The client key that every node accepts."""
        return self.ssh / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """Host keys of all nodes."""
        return self.ssh / "known_hosts"


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def write_script(path: Path, text: str) -> None:
    """Write a program."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def write_node_programs(
    node: SandboxNode, program: ServerProgram, paths: SandboxPaths, *, restart_after: float | None, ssh: bool
) -> None:
    """Write the node's service settings and the programs on its PATH."""
    server = [*program.command, f"--defaults-file={node.files.config}"]
    settings = {
        "LABEL": node.label,
        "LOG": str(node.files.log),
        "RESTART_SEC": "" if restart_after is None else f"{restart_after:g}",
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    lines += [f"UNITS=({shlex.join(program.service_names)})", f"MYSQLD=({shlex.join(server)})", ""]
    (node.directory / "node.env").write_text("\n".join(lines), encoding="utf-8")
    programs = node.directory / "bin"
    for front in ("systemctl", "service"):
        call = shlex.join(["/bin/bash", str(SERVICE_SCRIPT), str(node.directory), front])
        write_script(programs / front, f'#!/bin/bash\nexec {call} "$@"\n')
    write_script(programs / "sudo", _RUN_AS_SUDO)
    for name, command in program.commands.items():
        write_script(programs / name, f'#!/bin/bash\nexec {shlex.join(command)} "$@"\n')
    if ssh:
        # ssh takes its files from the account's home in the password file, whatever HOME says.
        options = [
            f"-oIdentityFile={paths.ssh_key}",
            "-oIdentitiesOnly=yes",
            f"-oUserKnownHostsFile={paths.known_hosts}",
        ]
        options += [
            "-oGlobalKnownHostsFile=/dev/null",
            f"-oUser={SSH_USER}",
            f"-oPort={node.ssh_port}",
            "-oBatchMode=yes",
        ]
        write_script(
            programs / "ssh", f'#!/bin/bash\nexec /usr/bin/ssh -F /dev/null {shlex.join(options)} "$@"\n'
        )


def write_pandora_files(paths: SandboxPaths, nodes: Sequence[SandboxNode], accounts: Accounts) -> None:
    """Write pandora_server.conf, the hosts file, and the service command."""
    paths.hosts_file.parent.mkdir(parents=True)
    paths.hosts_file.write_text(nodes[0].host, encoding="utf-8")
    settings = {
        "servername": "pandora-server-1",
        "incomingdir": str(paths.hosts_file.parent.parent),
        "log_file": str(paths.pandora / "pandora_server.log"),
        "dbengine": "mysql",
        "dbname": DATABASE,
        "dbuser": accounts.pandora.user,
        "dbpass": accounts.pandora.password,
        "dbhost": nodes[0].host,
        "dbport": str(nodes[0].port),
        "server_threshold": "30",
        "master": "2",
        "restart": "0",
        "ha_mode": "pandora",
        "ha_hosts": ", ".join(node.host for node in nodes),
        "ha_hosts_file": str(paths.hosts_file),
        "ha_interval": "10",
        "ha_connect_retries": "2",
        "ha_connect_delay": "1",
        "ha_dbuser": accounts.admin.user,
        "ha_dbpass": accounts.admin.password,
        "repl_dbuser": accounts.replication.user,
        "repl_dbpass": accounts.replication.password,
        "ha_sshuser": SSH_USER,
        "ha_sshport": str(nodes[0].ssh_port),
        "ha_resync_log": str(paths.pandora / "pandora_ha_resync.log"),
        "splitbrain_autofix": "0",
        "pandora_service_cmd": str(paths.service_command),
    }
    lines = [
        "# Pandora FMS server of the sandbox",
        *(f"{key} {value}" for key, value in settings.items()),
        "",
    ]
    write_private(paths.pandora_conf, "\n".join(lines))
    paths.restarts.touch()
    write_script(
        paths.service_command,
        "#!/bin/bash\n"
        "# What `service pandora_server` is on a Pandora server; restart-server HOST: use another database.\n"
        f'printf \'%s %s\\n\' "$(date +%s.%N)" "$*" >>{shlex.quote(str(paths.restarts))}\n'
        f"{{ read -r pid <{shlex.quote(str(paths.writer_pid))}; }} 2>/dev/null || exit 0\n"
        'case $1 in restart*) kill -HUP "$pid" ;; status) kill -0 "$pid" ;; esac\n',
    )


def write_config(paths: SandboxPaths, nodes: Sequence[SandboxNode], *, mode: str) -> None:
    """Write config.toml (0600)."""

    def table(values: Mapping[str, str | int]) -> list[str]:
        return [f"{key} = {json.dumps(value)}" for key, value in values.items()]

    lines = ["[worker]", *table({"state_dir": str(paths.state_dir)}), "", f"[clusters.{CLUSTER}]"]
    lines += table(
        {
            "mode": mode,
            "pandora_conf": str(paths.pandora_conf),
            "ssh_key": str(paths.ssh_key),
            "ssh_known_hosts": str(paths.known_hosts),
        }
    )
    for node in nodes:
        lines += ["", f"[[clusters.{CLUSTER}.nodes]]"]
        lines += table(
            {"label": node.label, "host": node.host, "ssh_port": node.ssh_port, "service": node.service}
        )
    write_private(paths.config, "\n".join([*lines, ""]))


def write_sshd_settings(
    node: SandboxNode, paths: SandboxPaths, environment: Mapping[str, str], *, banner: str, motd: str
) -> None:
    """Write what the node's SSH server is told."""
    settings = {
        "host": node.host,
        "port": node.ssh_port,
        "users": [SSH_USER, "root"],
        "host_key": str(node.directory / "ssh_host_key"),
        "authorized_keys": str(paths.ssh / "authorized_keys"),
        "environment": dict(environment),
        "home": str(node.directory / "home"),
        "banner": banner,
        "motd": motd,
        "ready_file": str(node.directory / "sshd.ready"),
    }
    write_private(node.directory / "sshd.json", json.dumps(settings))
