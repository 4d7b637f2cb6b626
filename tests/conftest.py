"""Real clusters for the tests.

``flavor`` runs a test on MariaDB and on MySQL; ``sandbox_factory`` starts clusters of a test's own, for tests
that break them; ``shared_sandbox`` is one cluster for a whole module, for tests that leave it as they found
it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

import pytest

from pfms_ha_tui.errors import SandboxError
from pfms_ha_tui.sandbox import Flavor, Sandbox, SandboxOptions
from pfms_ha_tui.sandbox.programs import find_program

_SANDBOXES = pytest.StashKey[list[Sandbox]]()
_LOG_TAIL = 4_000


@pytest.fixture(scope="session")
def mysql_server() -> None:
    """A MySQL server is there, fetched if need be; in CI it has to be, elsewhere the test is skipped."""
    try:
        find_program(Flavor.MYSQL)
    except SandboxError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI has to test on MySQL: {error}", pytrace=False)
        pytest.skip(f"NOT TESTED ON MYSQL: {error}")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(Flavor.MARIADB, id="mariadb"),
        pytest.param(Flavor.MYSQL, id="mysql", marks=pytest.mark.mysql),
    ],
)
def flavor(request: pytest.FixtureRequest) -> Flavor:
    """Both kinds of server, one after the other."""
    chosen = Flavor(request.param)
    if chosen is Flavor.MYSQL:
        request.getfixturevalue("mysql_server")
    return chosen


@pytest.fixture
async def sandbox_factory(
    request: pytest.FixtureRequest,
) -> AsyncIterator[Callable[[SandboxOptions], Awaitable[Sandbox]]]:
    """Starts clusters; the test may do to them what it likes, and they are gone after it."""
    started: list[Sandbox] = request.node.stash.setdefault(_SANDBOXES, [])

    async def start(options: SandboxOptions) -> Sandbox:
        sandbox = await Sandbox.start(options)
        started.append(sandbox)
        return sandbox

    yield start
    for sandbox in started:
        await sandbox.stop()


@pytest.fixture(scope="module")
def module_sandbox(flavor: Flavor) -> Iterator[Sandbox]:
    """The cluster behind :func:`shared_sandbox`."""
    sandbox = Sandbox(SandboxOptions(flavor=flavor))
    sandbox.start_now()
    yield sandbox
    sandbox.stop_now()


@pytest.fixture
def shared_sandbox(module_sandbox: Sandbox, request: pytest.FixtureRequest) -> Sandbox:
    """Two nodes that replicate, shared by the tests of a module: leave them as you found them."""
    request.node.stash.setdefault(_SANDBOXES, []).append(module_sandbox)
    return module_sandbox


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the ends of its servers' logs, which are gone when one comes to look."""
    report = yield
    if report.when == "call" and report.failed:
        for sandbox in item.stash.get(_SANDBOXES, []):
            for node in sandbox.nodes:
                report.sections.append((f"error log of {node.label}", node.error_log()[-_LOG_TAIL:]))
    return report
