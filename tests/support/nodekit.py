"""Settings and recorders for tests of one node."""

from __future__ import annotations

import ipaddress
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pfms_ha_tui.cluster.observation import NodeObservation, Reach
from pfms_ha_tui.cluster.policy import Policy
from pfms_ha_tui.config.settings import (
    Account,
    ClusterSettings,
    NodeSettings,
    SshSettings,
    Timeouts,
    Tls,
    TlsMode,
)
from pfms_ha_tui.masking import Secret
from pfms_ha_tui.sandbox import Sandbox

PrivateKey = ec.EllipticCurvePrivateKey


def fake_cluster(
    *ports: int, tls: TlsMode = TlsMode.PREFERRED, host: str = "127.0.0.1", **more: Any
) -> ClusterSettings:
    """A cluster of fake servers."""
    nodes = tuple(
        NodeSettings(
            label=f"node{index}", host=host, port=port, order=index, ssh=SshSettings(host=host, enabled=False)
        )
        for index, port in enumerate(ports, 1)
    )
    account = Account(user="root", password=Secret("s3cret-päss€"))
    values: dict[str, Any] = {
        "timeouts": Timeouts(connect=1.0, read=2.0, statement=2.0),
        "policy": Policy(interval=0.1),
    }
    values.update(more)
    return ClusterSettings(
        name="fake", nodes=nodes, admin=account, replication=account, tls=Tls(mode=tls), **values
    )


def sandbox_cluster(sandbox: Sandbox, **more: Any) -> ClusterSettings:
    """The settings for a sandbox's cluster."""
    nodes = tuple(
        NodeSettings(
            label=node.label,
            host=node.host,
            port=node.port,
            order=index,
            ssh=SshSettings(
                host=node.host,
                port=node.ssh_port,
                user="pandora",
                key=sandbox.root / "ssh" / "id_ed25519",
                known_hosts=sandbox.root / "ssh" / "known_hosts",
            ),
        )
        for index, node in enumerate(sandbox.nodes)
    )
    accounts = sandbox.accounts
    values: dict[str, Any] = {"policy": Policy(interval=0.2)}
    values.update(more)
    return ClusterSettings(
        name="sandbox",
        nodes=nodes,
        admin=Account(user=accounts.admin.user, password=Secret(accounts.admin.password)),
        replication=Account(user=accounts.replication.user, password=Secret(accounts.replication.password)),
        **values,
    )


class Recorder:
    """Takes observations and waits for one."""

    def __init__(self) -> None:
        self.seen: list[NodeObservation] = []
        self._news = threading.Condition()

    def __call__(self, observation: NodeObservation) -> None:
        with self._news:
            self.seen.append(observation)
            self._news.notify_all()

    def wait_for(
        self, what: Callable[[NodeObservation], bool], *, after: int = 0, within: float = 25.0
    ) -> NodeObservation:
        """The first observation from index ``after`` on that fits; fails if none comes in time."""
        deadline = time.monotonic() + within
        with self._news:
            while True:
                for observation in self.seen[after:]:
                    if what(observation):
                        return observation
                left = deadline - time.monotonic()
                assert left > 0, (
                    f"not seen within {within} s: {[str(one.reach) for one in self.seen[after:]]}"
                )
                self._news.wait(left)

    def wait_reach(self, reach: Reach, *, after: int = 0, within: float = 25.0) -> NodeObservation:
        """The first observation of that kind."""
        return self.wait_for(lambda observation: observation.reach is reach, after=after, within=within)

    @property
    def count(self) -> int:
        """How many came so far."""
        with self._news:
            return len(self.seen)


def client_key(folder: Path) -> Path:
    """A private key that no server knows."""
    path = folder / "stranger"
    path.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    path.chmod(0o600)
    return path


def locked_key(folder: Path) -> Path:
    """A private key under a passphrase."""
    path = folder / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "sesame", "-f", path], check=True)
    return path


@dataclass(frozen=True)
class Certificates:
    """An authority and a server's certificate that it signed; PEM files."""

    ca: Path
    cert: Path
    key: Path


def certificates(folder: Path, addresses: Iterable[str]) -> Certificates:
    """Certificates for a server at any of the addresses."""
    now = datetime.now(UTC)

    def build(
        name: str, key: PrivateKey, issuer: str, signer: PrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=False)
            .sign(signer, hashes.SHA256())
        )

    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build("test ca", authority, "test ca", authority, x509.BasicConstraints(ca=True, path_length=None))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(one)) for one in addresses])
    cert = build("server", server, "test ca", authority, names)
    made = Certificates(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
    made.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return made
