"""The arrows of the architecture: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def imports(file: Path) -> set[str]:
    """Modules that a file imports at module level, relative ones left out."""
    names: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def offenders(package: str, *forbidden: str, but: str = "") -> list[str]:
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files(package)
        if not but or but not in file.as_posix()
        for name in imports(file)
        if any(name == one or name.startswith(f"{one}.") for one in forbidden)
    ]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("auditor", ["reference_impl", "api", "tests"]),
        ("reference_impl", ["api", "tests", "auditor"]),
        ("api", ["reference_impl", "tests"]),
        ("auditor/rules", ["auditor.inspect", "auditor.run", "auditor.audit", "auditor.cli"]),
        ("auditor/inspect", ["auditor.run", "auditor.rules", "auditor.audit", "auditor.cli"]),
        ("auditor/run", ["auditor.inspect", "auditor.rules", "auditor.audit", "auditor.cli"]),
        ("auditor/report", ["auditor.inspect", "auditor.run", "auditor.audit", "auditor.cli"]),
        ("auditor/run/recorder", ["auditor"]),
    ],
)
def test_packages_import_only_downwards(package, forbidden):
    assert offenders(package, *forbidden) == []


def test_reading_needs_no_machine_learning_library():
    assert offenders("auditor", "torch", "sentencepiece", but="run/recorder") == []


def test_the_innermost_types_import_nothing_but_each_other():
    kinds = [f"evidence/{file.name}" for file in files("auditor/evidence")]
    assert len(kinds) > 1
    for name in ("errors.py", "rulesets.py", "verdict.py", *kinds):
        inner = {one for one in imports(ROOT / "auditor" / name) if one.startswith("auditor")}
        allowed = ("auditor.errors", "auditor.evidence", "auditor.rulesets")
        assert all(one.startswith(allowed) for one in inner), name


def test_only_the_commands_print():
    for file in files("auditor"):
        if file.match("auditor/cli*.py"):
            continue
        calls = [
            node
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "print"
        ]
        assert not calls, file
