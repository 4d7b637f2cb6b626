"""No settings file, however broken, ends in anything but a ConfigError made of clean single lines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pfms_ha_tui import masking
from pfms_ha_tui.config import ConsoleAccess, SettingsError, console_access, load, render_check
from pfms_ha_tui.config.options import (
    CLUSTER,
    CONSOLE,
    HOOK_EVENTS,
    MERGE_TABLE,
    NODE,
    WITNESS,
    WORKER,
    Section,
)
from pfms_ha_tui.config.settings import Settings
from pfms_ha_tui.errors import ConfigError

CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(scope="module", autouse=True)
def own_secrets() -> Iterator[None]:
    """Passwords made up here are not masked in other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "_known", dict(masking._known))
        patch.setattr(masking, "_longest_first", [])
        yield


def outcome(path: Path, environ: Mapping[str, str]) -> Settings | ConfigError:
    try:
        return load(path, environ=environ)
    except ConfigError as error:
        return error


def console_outcome(path: Path, environ: Mapping[str, str]) -> ConsoleAccess | ConfigError:
    try:
        return console_access(path, environ=environ)
    except ConfigError as error:
        return error


def survive(path: Path, environ: Mapping[str, str] | None = None) -> None:
    """Load, and hold what comes of it against the promise."""
    found = outcome(path, environ or {})
    report = render_check(found)
    assert CANARY not in report
    assert clean(report.split("\n"))
    if isinstance(found, Settings):
        assert found.clusters
        assert all(cluster.nodes for cluster in found.clusters)
    else:
        assert isinstance(found, SettingsError)
        assert found.found
        assert clean([*found.faults, found.reason, *found.warnings, *str(found).split("\n")])
        assert all(line.strip() and CANARY not in line for line in found.faults)
    for_console = console_outcome(path, environ or {})
    if isinstance(for_console, ConfigError):
        assert clean(for_console.faults)


def clean(lines: Iterable[str]) -> bool:
    return all(line.isprintable() for line in lines)


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


relaxed = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(data=st.binary(max_size=400), name=st.sampled_from(["c.toml", "c.conf", "c"]))
@example(data=b"\xff\xfe[\x00", name="c.toml")
@example(data=b"x = " + b"[" * 20_000, name="c.toml")
@example(data=b"x = " + b"{a=" * 20_000, name="c.toml")
@example(data=b"x = " + b"9" * 20_000, name="c.toml")
@example(data=b"x = 0x" + b"f" * 20_000, name="c.toml")
@example(data=b"x" + b".a" * 50_000 + b" = 1", name="c.toml")
@example(data=b"[x" + b" . 'a'" * 40_000 + b"]", name="c.toml")
@example(data=b"x.y." * 12 + b"z = 1\n", name="c.toml")
@example(data=(b"[" + b"a." * 40 + b"b]\nc = 1\n") * 2_000, name="c.toml")
@example(data=b"[[a]]\n" * 4_000, name="c.toml")
@example(data=b"'a.' = 1\n" * 25_000, name="c.toml")
@example(data=b'a = "' + b"x." * 100_000 + b'"', name="c.toml")
@example(data=b"clusters.c.interval = 0x" + b"f" * 9_000, name="c.toml")
@example(data=b"clusters.c.nodes = 0x" + b"f" * 9_000, name="c.toml")
@example(data=b"clusters.c.admin_user = " + b"[" * 150 + b"]" * 150, name="c.toml")
@example(data=b'[clusters."\\u202e\\u0007"]\n"\\u2028" = 1\n', name="c.toml")
@example(data=b"\r", name="c.toml")
@example(data=b"a = 1\r[b]", name="c.toml")
@example(data=b"dbuser a\ndbpass \x00\nha_hosts h\n", name="c.conf")
@example(data=b"dbuser \x1b[2J\ndbpass b\nha_hosts \x1b[2J\n", name="c.conf")
@example(data=b"ha_hosts " + b"h," * 50_000, name="c.conf")
@example(data=b"a" * 2_000_000, name="c.conf")
def test_any_bytes(folder: Path, data: bytes, name: str) -> None:
    survive(put(folder, name, data))


@relaxed
@given(text=st.text(st.sampled_from("[]{}=\"'\\\n#.,clusters nodesab01-_\t\r\x00\x1b"), max_size=200))
def test_text_that_looks_like_toml(folder: Path, text: str) -> None:
    survive(put(folder, "c.toml", text.encode()))


words = st.one_of(
    st.sampled_from(
        [
            *(
                "",
                "manual",
                "automatic",
                "10.0.0.1",
                "node1",
                "30s",
                "5 MB",
                "-1s",
                "config.toml",
                "~",
                "~x",
                "/",
            ),
            *("\x1b[31m", "a\nb", "‮", "x" * 5000, "\x00", "[/red]", "%s", "{0}", "1e400", "..", "/dev/zero"),
        ]
    ),
    st.text(max_size=20),
)
plain = st.one_of(
    words,
    st.integers(),
    st.sampled_from([0, 1, -1, 22, 3306, 70_000, 10**400]),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
anything = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)


def table(section: Section) -> st.SearchStrategy[dict[str, object]]:
    """A table with some of the keys of ``section``, and some that are nobody's."""
    secrets = {option.key for option in section.options if option.secret}
    known = {option.key: anything for option in section.options if option.key not in secrets}
    return st.fixed_dictionaries(
        {}, optional={**known, **dict.fromkeys(secrets, st.just(CANARY) | anything), "nonsense": anything}
    )


cluster = st.builds(
    lambda own, nodes, witnesses, tables, hooks, good: {
        **own,
        **({"admin_user": "root", "admin_password": CANARY} if good else {}),
        "nodes": nodes,
        "witnesses": witnesses,
        "merge_tables": tables,
        "hooks": hooks,
    },
    table(CLUSTER),
    st.lists(table(NODE) | anything, max_size=3) | anything,
    st.lists(table(WITNESS), max_size=2) | anything,
    st.lists(table(MERGE_TABLE), max_size=2) | anything,
    st.dictionaries(st.sampled_from(HOOK_EVENTS) | words, anything, max_size=3) | anything,
    st.booleans(),
)
documents = st.fixed_dictionaries(
    {"clusters": st.dictionaries(st.sampled_from(["c", "d"]) | words, cluster, max_size=2) | anything},
    optional={"worker": table(WORKER) | anything, "console": table(CONSOLE) | anything, "stray": anything},
)


def spelt(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return (
            '"' + "".join(f"\\U{ord(sign):08x}" for sign in value if not 0xD800 <= ord(sign) < 0xE000) + '"'
        )
    if isinstance(value, dict):
        pairs = {spelt(str(key)): spelt(inner) for key, inner in value.items()}
        return "{" + ", ".join(f"{key} = {inner}" for key, inner in pairs.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(spelt(inner) for inner in value) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "-inf": "-inf", "nan": "nan"}.get(str(value), f"{value:.6e}")
    if isinstance(value, int):
        return hex(value) if value >= 0 else f"-{min(-value, 10**300)}"
    return str(value).replace(" ", "T")


@settings(relaxed, max_examples=120)
@given(data=documents)
def test_documents_of_the_right_shape_with_anything_in_them(folder: Path, data: dict[str, object]) -> None:
    lines = []
    for name, value in data.items():
        if name == "clusters" and isinstance(value, dict):
            lines += [f"clusters.{spelt(str(key))} = {spelt(inner)}" for key, inner in value.items()]
        else:
            lines.append(f"{name} = {spelt(value)}")
    unique = {line.split(" = ")[0]: line for line in lines}
    survive(put(folder, "c.toml", "\n".join(unique.values()).encode()))


keys = st.sampled_from(
    [
        *(
            "dbhost",
            "dbport",
            "dbname",
            "dbuser",
            "dbpass",
            "ha_mode",
            "ha_hosts",
            "ha_host",
            "ha_hosts_file",
        ),
        *(
            "incomingdir",
            "ha_dbuser",
            "repl_dbuser",
            "ha_sshuser",
            "ha_sshport",
            "ha_resync",
            "ha_resync_log",
        ),
        *(
            "ha_connect_retries",
            "splitbrain_autofix",
            "ha_resync_sleep",
            "server_threshold",
            "pandora_service_cmd",
        ),
        *("#ha_hosts", " ha_hosts", "unknown"),
    ]
)


@relaxed
@given(lines=st.lists(st.tuples(keys, words), max_size=12), good=st.booleans())
def test_files_of_pandora_with_anything_in_them(
    folder: Path, lines: list[tuple[str, str]], good: bool
) -> None:
    start = f"dbuser a\nha_dbpass {CANARY}\ndbpass {CANARY}\nha_hosts 10.0.0.1\n" if good else ""
    text = start + "".join(f"{key} {value}\n" for key, value in lines)
    survive(put(folder, "c.conf", text.encode("utf-8", "surrogatepass")))


@relaxed
@given(
    environ=st.dictionaries(
        st.sampled_from(
            [
                *("PFMS_HA_TUI_STATE_DIR", "PFMS_HA_TUI_SOCKET", "PFMS_HA_TUI_LOG_FILE", "PFMS_HA_TUI_THEME"),
                *(
                    "PFMS_HA_TUI_MODE",
                    "PFMS_HA_TUI_ADMIN_PASSWORD",
                    "HOME",
                    "XDG_STATE_HOME",
                    "PFMS_HA_TUI_MODES",
                ),
            ]
        ),
        words,
    )
)
def test_any_environment(folder: Path, environ: dict[str, str]) -> None:
    text = f'[clusters.c]\nadmin_user = "a"\nadmin_password = "{CANARY}"\n[[clusters.c.nodes]]\nhost = "h"\n'
    survive(put(folder, "c.toml", text.encode()), environ)


@pytest.mark.parametrize("name", ["x\0y", "\udcff", "a" * 300, "a/" * 3000, ".", "‮.toml", "\x1b[2J.toml"])
def test_any_path(folder: Path, name: str) -> None:
    survive(folder / name)
