"""The documents point at what there is: their links at files, their claims at tests."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s]+)(?:#[^)]*)?\)")
_TEST = re.compile(r"`(test_\w+)`")


def links(document: Path) -> list[tuple[str, str]]:
    return [(text, target) for text, target in _LINK.findall(document.read_text()) if "://" not in target]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    missing = [target for _, target in links(document) if not (document.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_is_named_exists(document: Path) -> None:
    named = [(name, (document.parent / target)) for text, target in links(document) for name in _TEST.findall(text)]
    assert not [name for name, module in named if name not in functions_of(module)]


def test_every_promise_of_the_cache_names_its_tests() -> None:
    rows = re.findall(r"^\| (G\d) \|(.*)$", (ROOT / "docs/cache.md").read_text(), re.MULTILINE)
    assert [number for number, _ in rows] == [f"G{n}" for n in range(1, 10)]
    assert all(_TEST.search(row) for _, row in rows)


def test_every_fault_says_what_is_seen_and_names_its_test() -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| (.*) \| (.+) \|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    faults = [row for row in rows if row[0] not in ("fault", "---")]
    assert len(faults) > 15
    assert [fault for fault, _, _, test in faults if not (_TEST.search(test) or test.startswith("the same"))] == []


def functions_of(module: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, functions)}
