"""No secret leaves the program: not by printing one, not in SQL, command lines, URLs, files or logs."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import shlex
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfms_ha_tui import masking
from pfms_ha_tui.config.settings import Account
from pfms_ha_tui.masking import MASK, Secret, mask
from pfms_ha_tui.worker.logs import MaskingFormatter

CANARY = 'Xy7-canary\'s "own"\\pass;word'
UNKNOWN = "n0t-a-known-0ne"
"""Never wrapped in a Secret: only where it stands gives it away."""


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    secret: Secret


@pytest.fixture(scope="module", autouse=True)
def canary() -> Iterator[Secret]:
    """Secrets made up here are not masked in other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "_known", dict(masking._known))
        patch.setattr(masking, "_longest_first", [])
        yield Secret(CANARY)


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: f"{secret:>40}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - the old spelling is used by logging
        lambda secret: "{0}".format(secret),  # noqa: UP030, UP032
        lambda secret: repr(Holder(secret)),
        lambda secret: repr([{"a": secret}]),
        lambda secret: repr(Account(user="root", password=secret)),
        lambda secret: str(dataclasses.asdict(Holder(secret))),
        lambda secret: repr(copy.copy(secret)),
        lambda secret: repr(copy.deepcopy(Holder(secret))),
        lambda secret: repr(dataclasses.replace(Holder(secret))),
        lambda secret: repr(vars(type(secret))),
    ],
)
def test_a_secret_is_never_shown(show: Callable[[Secret], str], canary: Secret) -> None:
    assert "canary" not in show(canary)


@pytest.mark.parametrize(
    "encode",
    [
        pickle.dumps,
        lambda secret: pickle.dumps(secret, protocol=0),
        lambda secret: pickle.dumps(Holder(secret)),
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        lambda secret: msgspec.json.encode(Holder(secret)),
        lambda secret: msgspec.to_builtins(Account(user="root", password=secret)),
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce__(),
        lambda secret: "".join([secret]),
        lambda secret: bytes(secret),
        lambda secret: vars(secret),
    ],
)
def test_a_secret_is_never_encoded(encode: Callable[[Secret], object], canary: Secret) -> None:
    with pytest.raises(TypeError) as caught:
        encode(canary)
    assert "canary" not in str(caught.value)


def test_a_copy_is_still_the_secret(canary: Secret) -> None:
    assert copy.deepcopy(Holder(canary)).secret.reveal() == CANARY


def test_secrets_compare_and_know_whether_they_are_empty(canary: Secret) -> None:
    assert Secret(CANARY) == canary
    assert hash(Secret(CANARY)) == hash(canary)
    assert Secret("other-canary") != canary
    assert not Secret("")
    assert repr(Secret("")) == "Secret(empty)"


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: text,
        repr,
        json.dumps,
        shlex.quote,
        urllib.parse.quote,
        lambda text: urllib.parse.quote(text, safe=""),
        lambda text: text.replace("'", "''"),
        lambda text: text.replace("\\", "\\\\").replace("'", "\\'"),
        lambda text: text.replace("\\", "\\\\").replace("'", "''"),
        lambda text: f"first line\n{text}\nlast line",
        lambda text: json.dumps({"argv": ["mysql", text]}),
        lambda text: " ".join([text] * 1000),
    ],
)
def test_a_known_secret_is_found_in_every_spelling(spell: Callable[[str], str]) -> None:
    assert "canary" not in mask(f"before {spell(CANARY)} after")


def test_letters_beyond_ascii_are_found_in_json_and_urls() -> None:
    Secret("пароль-🔑-geheim")
    for text in (json.dumps("пароль-🔑-geheim"), urllib.parse.quote("пароль-🔑-geheim")):
        assert "geheim" not in mask(text)


def test_the_longer_of_two_secrets_goes_first() -> None:
    Secret("correct-horse")
    Secret("correct-horse-battery")
    assert mask("is correct-horse-battery!") == f"is {MASK}!"


def test_an_ordinary_word_is_masked_only_where_a_password_stands() -> None:
    Secret("pandora")
    assert mask("/etc/pandora/pandora_server.conf") == "/etc/pandora/pandora_server.conf"
    assert mask("MASTER_PASSWORD='pandora', MASTER_HOST='x'") == f"MASTER_PASSWORD={MASK}, MASTER_HOST='x'"


def test_a_very_short_secret_does_not_eat_the_text() -> None:
    Secret("a")
    Secret("abc")
    assert mask("abc banana") == "abc banana"


def test_a_short_number_does_not_eat_coordinates() -> None:
    Secret("4711")
    assert mask("binlog.000018:1471156") == "binlog.000018:1471156"
    assert mask("the pin 4711.") == f"the pin {MASK}."


PLACES = """
CREATE USER 'a'@'%' IDENTIFIED BY '§'
CREATE USER a IDENTIFIED WITH mysql_native_password BY "§"
create user a identified   with 'caching_sha2_password'  as '§' replace '§'
ALTER USER a IDENTIFIED VIA mysql_native_password USING PASSWORD('§')
ALTER USER a IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD("§")
GRANT ALL ON *.* TO a IDENTIFIED BY PASSWORD '§'
SET PASSWORD = '§'
SET PASSWORD FOR 'u'@'%' = PASSWORD('§')
set password for u = old_password ( "§" )
CHANGE MASTER TO MASTER_HOST='h', MASTER_PASSWORD='§', MASTER_PORT=3306
CHANGE MASTER TO master_password = '§''§', MASTER_PORT=3306
CHANGE MASTER TO MASTER_PASSWORD = '§\\'§', MASTER_PORT=3306
CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD /* for the slave */ = "§", SOURCE_USER='u'
START REPLICA USER='u' PASSWORD='§'
CLONE INSTANCE FROM 'u'@'h':3306 IDENTIFIED BY '§'
CREATE USER a IDENTIFIED BY '§ cut off here
mysql -uroot -p§ -h x
mysqldump --host h -p'§ §' pandora
/usr/bin/mariadb --batch "-p§" pandora
mariadb-backup --backup --password=§ --user=x
mariadb-backup --backup --password § --user=x
xtrabackup --user root --password='§ §'
sshpass -p § ssh x
sshpass -p'§' ssh x
curl -s -u admin:§ https://x/
MYSQL_PWD=§ mysql
env MYSQL_PWD='§ §' mysql
SSHPASS=§ sshpass -e ssh x
mysql://root:§@10.0.0.1/pandora
https://user:§:§@host/path
{"user": "x", "password": "§", "n": 1}
{'ha_dbpass': '§', 'n': 1}
{"line": "{\\"password\\": \\"§\\"}"}
admin_password = "§"
replication_password='§'
dbpass §
ha_dbpass   § with blanks
repl_dbpass\t§
api_key=§
""".strip().splitlines()


@pytest.mark.parametrize("place", PLACES)
def test_whatever_stands_where_a_password_stands_is_masked(place: str) -> None:
    secret = place.replace("\\t", "\t").replace("§", UNKNOWN)
    assert UNKNOWN not in mask(secret)
    assert MASK in mask(secret)


@pytest.mark.parametrize("place", PLACES)
def test_masking_twice_changes_nothing_more(place: str) -> None:
    once = mask(place.replace("§", UNKNOWN))
    assert mask(once) == once


def test_a_statement_over_several_lines_is_masked() -> None:
    statement = (
        f"CHANGE MASTER TO\n MASTER_USER = 'u',\n MASTER_PASSWORD =\n '{UNKNOWN}',\n MASTER_PORT = 3306"
    )
    assert UNKNOWN not in mask(statement)
    assert "MASTER_PORT = 3306" in mask(statement)


def test_hashes_and_private_keys_are_masked() -> None:
    native = "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
    assert native not in mask(f"the hash {native}")
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\nZXktdjEA\n-----END OPENSSH PRIVATE KEY-----"
    assert "b3Blbn" not in mask(key)
    assert "ZXktdjEA" not in mask(key)


@pytest.mark.parametrize(
    "text",
    [
        "Access denied for user 'root'@'10.0.0.1' (using password: YES)",
        "admin_password: expects a text",
        'admin_password_file = "/etc/pfms-ha-tui/password"',
        "ALTER USER a PASSWORD EXPIRE NEVER",
        "validate_password.policy = MEDIUM",
        "default_password_lifetime = 0",
        "ssh -p22 host mkdir -p /var/lib/x",
        "rsync -avpP -e ssh /a/ node2:/b/",
        "mysql --password --host=x --port=3306",
        "binlog.000018:1135140",
        "https://pandorafms.com/manual/!775:start",
        "password == other",
        "MASTER_PASSWORD=''",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert mask(text) == text


def test_every_log_record_is_masked_with_its_arguments_and_its_traceback(canary: Secret) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(MaskingFormatter("%(message)s"))
    logger = logging.Logger("canary")
    logger.addHandler(handler)
    logger.error("login with %s and %r", canary, {"password": UNKNOWN})
    logger.error("statement %s", f"CREATE USER a IDENTIFIED BY '{UNKNOWN}'")
    try:
        raise RuntimeError(f"could not run mysql -p{UNKNOWN} for {CANARY}")
    except RuntimeError:
        logger.exception("failed")
    written = stream.getvalue()
    assert "RuntimeError" in written
    assert UNKNOWN not in written
    assert "canary's" not in written


# Letters only, so that no strategy makes a secret of punctuation that stands in the template itself.
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=40).filter(
    lambda text: len(set(text.strip())) > 4 and text == text.strip() and MASK[0] not in text
)
surroundings = st.text(max_size=60)


@given(secret=secrets, before=surroundings, after=surroundings)
def test_no_known_secret_survives_anywhere(secret: str, before: str, after: str) -> None:
    Secret(secret)
    for spelt in (secret, json.dumps(secret)[1:-1], shlex.quote(secret), urllib.parse.quote(secret, safe="")):
        assert secret not in mask(f"{before} {spelt} {after}")


@given(st.text(max_size=400))
def test_masking_takes_any_text(text: str) -> None:
    mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "mysql " * 50_000,
        "password " * 30_000,
        "password" * 30_000,
        "IDENTIFIED " * 30_000,
        "MASTER_PASSWORD='" * 15_000,
        "http://" * 40_000,
        "/*" * 100_000,
        "SET PASSWORD FOR " * 20_000,
        "-----BEGIN PRIVATE KEY-----" * 10_000,
        " " * 300_000,
        "-" * 300_000,
    ],
    ids=lambda text: text[:12],
)
def test_masking_a_large_text_takes_no_more_than_moments(text: str) -> None:
    started = time.monotonic()
    mask(text)
    assert time.monotonic() - started < 20


def test_secrets_made_by_other_threads_are_masked() -> None:
    made = [f"thread-secret-{number}-{'x' * number}" for number in range(200)]
    threads = [threading.Thread(target=Secret, args=(secret,)) for secret in made]
    for thread in threads:
        thread.start()
        mask("meanwhile")
    for thread in threads:
        thread.join()
    text = mask(" ".join(made))
    assert "thread-secret" not in text
