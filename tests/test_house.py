"""The house rules of the design: who may import whom, and what stays out of light processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pfms_ha_tui"

# Each part may import only the parts named here (and itself). Everything may import the two at the bottom.
BOTTOM = {"errors", "masking"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "masking": set(),
    "cluster": set(),
    "config": {"cluster"},
    "nodes": {"cluster", "config"},
    "pandora": {"cluster", "config", "nodes"},
    "operations": {"cluster", "config", "nodes", "pandora"},
    "worker": {"cluster", "config", "nodes", "pandora", "operations"},
    "console": {
        *("cluster", "config", "operations.view"),
        *("worker.protocol", "worker.protocol_merge", "worker.client", "worker.spawn"),
    },
    "sandbox": {"cluster", "config", "nodes", "pandora"},
    "cli": {"cluster", "config", "operations.view", "worker", "console", "sandbox"},
}
STANDARD_LIBRARY_ONLY = {"cluster", "errors", "masking"}


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> list[str]:
    """Every module named in an import, also inside functions: laziness is no excuse for a wrong direction."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            found += [f"{module}.{alias.name}" for alias in node.names] if module.count(".") < 2 else [module]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards_only(path: Path) -> None:
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    allowed = ALLOWED.get(part) if not part.startswith("cli") else ALLOWED["cli"]
    assert allowed is not None, f"{part} has no place in the house: add it to ALLOWED"
    for name in imports_of(path):
        if name == "pfms_ha_tui" or not name.startswith("pfms_ha_tui."):
            continue
        target = name.removeprefix("pfms_ha_tui.")
        top = target.split(".")[0]
        if top in BOTTOM or top == part or top == "__version__":
            continue
        fits = any(target == rule or target.startswith(rule + ".") for rule in allowed)
        assert fits, f"{path.relative_to(PACKAGE)} imports {name}: not below {part}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_pure_part_uses_the_standard_library_only(path: Path) -> None:
    if part_of(path) not in STANDARD_LIBRARY_ONLY:
        return
    for name in imports_of(path):
        top = name.split(".")[0]
        assert top in sys.stdlib_module_names or top == "pfms_ha_tui", f"{path.name} imports {name}"
        if part_of(path) == "cluster":
            assert top not in {
                "time",
                "socket",
                "threading",
                "asyncio",
                "os",
                "subprocess",
                "sqlite3",
                "random",
            }


def loaded_by(statement: str) -> set[str]:
    program = f"import sys; {statement}; print('\\n'.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import pfms_ha_tui.cli", {"textual", "pymysql", "asyncssh", "sqlite3"}),
        ("import pfms_ha_tui.config", {"textual", "pymysql", "asyncssh"}),
        ("import pfms_ha_tui.worker.client", {"textual", "pymysql", "asyncssh", "sqlite3"}),
        ("import pfms_ha_tui.console.app", {"pymysql", "asyncssh", "sqlite3"}),
        ("import pfms_ha_tui.worker.main", {"textual"}),
    ],
)
def test_a_light_process_does_not_load_what_it_does_not_need(statement: str, forbidden: set[str]) -> None:
    assert not forbidden & loaded_by(statement)
