"""What an error says about the node."""

from __future__ import annotations

import errno
import socket
import ssl

import pymysql
import pytest
from pymysql.constants import CR

from pfms_ha_tui.cluster.observation import Reach
from pfms_ha_tui.masking import MASK, Secret
from pfms_ha_tui.nodes.failures import (
    ConnectTimeoutError,
    NoGreetingError,
    ResolveTimeoutError,
    SettingsFaultError,
    SqlError,
    classify,
    clean,
)

Operational = pymysql.err.OperationalError


def caused_by(error: Exception, cause: BaseException) -> Exception:
    try:
        try:
            raise cause
        except type(cause):
            raise error  # noqa: B904 - the implicit context is what PyMySQL leaves
    except type(error) as raised:
        return raised


def lost() -> Exception:
    return Operational(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")


CASES = [
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), Reach.REFUSED, "refused"),
    (ConnectTimeoutError(), Reach.UNREACHABLE, "timeout"),
    (TimeoutError(errno.ETIMEDOUT, "timed out"), Reach.UNREACHABLE, "timeout"),
    (OSError(errno.EHOSTUNREACH, "no route"), Reach.UNREACHABLE, "no_route"),
    (OSError(errno.ENETUNREACH, "no route"), Reach.UNREACHABLE, "no_route"),
    (NoGreetingError(), Reach.HUNG, "no_greeting"),
    (TimeoutError("timed out"), Reach.HUNG, "timeout"),
    (caused_by(lost(), TimeoutError("timed out")), Reach.HUNG, "timeout"),
    (caused_by(lost(), ConnectionResetError(errno.ECONNRESET, "reset")), Reach.HUNG, "closed"),
    (Operational(CR.CR_SERVER_LOST, "Lost connection"), Reach.HUNG, "closed"),
    (pymysql.err.InterfaceError(0, ""), Reach.HUNG, "closed"),
    (ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "eof"), Reach.HUNG, "closed"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Reach.FAULT, "name_not_resolved"),
    (ResolveTimeoutError("db1"), Reach.FAULT, "name_not_resolved"),
    (ssl.SSLError(1, "wrong version number"), Reach.FAULT, "tls"),
    (ssl.SSLCertVerificationError(1, "self-signed"), Reach.FAULT, "tls"),
    (Operational(CR.CR_SSL_CONNECTION_ERROR, "SSL is required"), Reach.FAULT, "tls"),
    (SettingsFaultError("no such file"), Reach.FAULT, "config"),
    (OSError(errno.EMFILE, "too many open files"), Reach.FAULT, "config"),
    (Operational(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, "plugin gssapi"), Reach.FAULT, "config"),
    (pymysql.err.InternalError("Packet sequence number wrong"), Reach.FAULT, "protocol"),
    (ValueError("invalid literal for int()"), Reach.FAULT, "protocol"),
    (Operational(1040, "Too many connections"), Reach.IMPAIRED, "too_many_connections"),
    (Operational(1203, "max_user_connections"), Reach.IMPAIRED, "too_many_connections"),
    (Operational(1226, "max_queries_per_hour"), Reach.IMPAIRED, "too_many_connections"),
    (Operational(1045, "Access denied"), Reach.IMPAIRED, "access_denied"),
    (Operational(1129, "Host is blocked"), Reach.IMPAIRED, "host_blocked"),
    (Operational(1130, "Host is not allowed"), Reach.IMPAIRED, "host_blocked"),
    (Operational(1053, "Server shutdown in progress"), Reach.IMPAIRED, "sql_error"),
    (Operational(1290, "read-only"), Reach.IMPAIRED, "sql_error"),
    (Operational(1317, "interrupted"), Reach.IMPAIRED, "sql_error"),
    (Operational(1969, "max_statement_time exceeded"), Reach.IMPAIRED, "sql_error"),
    (Operational(3024, "maximum statement execution time exceeded"), Reach.IMPAIRED, "sql_error"),
    (pymysql.err.ProgrammingError(1146, "no such table"), Reach.IMPAIRED, "sql_error"),
    (Operational(3159, "insecure transport"), Reach.FAULT, "tls"),
]


@pytest.mark.parametrize(("error", "kind", "code"), CASES, ids=lambda value: repr(value)[:60])
def test_each_error_gets_its_judgement(error: Exception, kind: Reach, code: str) -> None:
    failure = classify(error, where="10.0.0.1:3306")
    assert (failure.kind, failure.code) == (kind, code)
    assert "10.0.0.1:3306" in failure.text or code == "config"
    assert "\n" not in failure.text


def test_the_error_that_pymysql_hides_is_found() -> None:
    """PyMySQL wraps a socket error of the login and keeps it in an attribute only."""
    wrapped = Operational(CR.CR_CONN_HOST_ERROR, "Can't connect")
    vars(wrapped)["original_exception"] = OSError(errno.EHOSTUNREACH, "No route to host")
    assert classify(wrapped).code == "no_route"


def test_silence_of_a_host_that_acknowledges_nothing_is_unreachable_not_hung() -> None:
    assert classify(TimeoutError(), host_acks=True).kind is Reach.HUNG
    assert classify(TimeoutError(), host_acks=False).kind is Reach.UNREACHABLE


def test_a_servers_number_is_kept_and_common_ones_come_with_advice() -> None:
    failure = classify(Operational(1129, "Host 'x' is blocked"))
    assert failure.errno == 1129
    assert failure.hint is not None
    assert "FLUSH HOSTS" in failure.hint


def test_only_errors_that_end_the_session_say_so() -> None:
    def ends(number: int) -> bool:
        return SqlError(classify(Operational(number, "x"))).ends_session

    assert ends(1053)
    assert ends(1927)
    assert ends(CR.CR_SERVER_LOST)
    assert not ends(1142)
    assert not ends(1205)


def test_text_of_a_server_becomes_one_harmless_line() -> None:
    secret = Secret("hunter2-very-secret")
    said = clean("bad\x1b[31m\r\nnews\x00 IDENTIFIED BY 'hunter2-very-secret' \u202egnp.exe" + "x" * 1000)
    assert secret.reveal() not in said
    assert MASK in said
    assert len(said) <= 400
    assert all(character.isprintable() for character in said)
    assert "\u202e" not in said


def test_advice_names_keys_as_they_are_spelt_in_the_config() -> None:
    """``tls_mode`` is a key of a cluster; ``tls.mode`` would be refused as unknown."""
    hints = [classify(error).hint or "" for error, _, code in CASES if code == "tls"]
    assert any("tls_mode" in hint for hint in hints)
    assert not any("tls." in hint for hint in hints)
