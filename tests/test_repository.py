"""The repository tests itself: layers, the sync seam, orderings with reasons, no machine paths."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "rust" / "core" / "src"
pytestmark = pytest.mark.skipif(not CORE.is_dir(), reason="needs the repository's sources")


def layers() -> list[str]:
    """The modules in the order of docs/design.md's table."""
    table = re.findall(r"^\| \d \| (.*) \|$", (ROOT / "docs/design.md").read_text(), re.M)
    return re.findall(r"`(\w+)`", " ".join(table))


def code(path: Path) -> str:
    """A Rust file without its comments and in-file tests."""
    text = path.read_text().split("#[cfg(test)]\nmod tests")[0]
    return re.sub(r"//.*", "", text)


def module_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".rs")


def test_every_module_has_a_layer() -> None:
    assert set(layers()) == {module_of(p) for p in CORE.iterdir()} - {"lib"}


def test_a_module_uses_only_those_above_it() -> None:
    order = layers()
    wrong = [
        f"{path.relative_to(ROOT)} uses {used}"
        for path in sorted(CORE.rglob("*.rs"))
        if (user := module_of(path)) != "lib"
        for used in re.findall(r"crate::(\w+)", code(path))
        if used in order and order.index(used) > order.index(user)
    ]
    assert wrong == []


def test_only_sync_names_std_s_concurrency() -> None:
    named = r"std::sync::(?!Arc\b|PoisonError\b)\w+|std::thread|loom::|shuttle::"
    wrong = [p.name for p in CORE.rglob("*.rs") if p.name != "sync.rs" and re.search(named, code(p))]
    assert wrong == []


def test_every_file_with_atomics_is_on_the_orderings_page() -> None:
    """With the orderings stronger than Relaxed that it uses."""
    page = (ROOT / "docs/orderings.md").read_text()
    rows = re.findall(r"^\| `([\w/]+\.rs)` \| ([^|`]+) \| [^|]+ \|$", page, re.M)
    named = {name: set(re.findall(r"\w+", orderings)) for name, orderings in rows}
    names = r"\bOrdering::(SeqCst|AcqRel|Acquire|Release|Relaxed)\b|\bOWNED\b"  # the constant is Relaxed
    used = {
        str(path.relative_to(CORE)): {ordering or "Relaxed" for ordering in re.findall(names, code(path))}
        for path in CORE.rglob("*.rs")
        if path.name != "tests.rs"
    }
    assert named == {name: orderings - {"Relaxed"} for name, orderings in used.items() if orderings}


def test_no_machine_paths() -> None:
    folders = (
        "docs",
        "ci",
        "python",
        "rust",
        "tests",
        "tools",
        "benches",
        "examples",
        "experiments",
        "fuzz/targets",
        "fuzz/src",
    )
    files = [p for d in folders for p in (ROOT / d).rglob("*")] + [p for p in ROOT.iterdir() if p.is_file()]
    kinds = {".md", ".py", ".rs", ".sh", ".toml", ".json", ".ipynb", ".yml"}
    texts = [p for p in files if p.suffix in kinds and p != Path(__file__)]
    # No path of ours, and no build of a kernel that only one machine has.
    assert [str(p) for p in texts if re.search(r"/root/|/work/|-fc-v\d", p.read_text())] == []


def test_the_readme_shows_the_two_commands() -> None:
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    assert all(f"make {target} " in readme and f"\n{target}: " in makefile for target in ("demo", "test"))


KERNEL_MAP = ROOT / "docs/kernel-map.md"


def test_every_path_of_the_kernel_map_exists() -> None:
    paths = re.findall(r"`(\w+)::(\w+)`", KERNEL_MAP.read_text())
    texts = {m: "\n".join(code(p) for p in CORE.rglob("*.rs") if module_of(p) == m) for m, _ in paths}
    declared = r"\b(?:fn|struct|enum|trait|type|const)\s+{}\b"
    assert len(paths) > 40
    assert [f"{m}::{name}" for m, name in paths if not re.search(declared.format(name), texts[m])] == []


def test_the_kernel_map_has_every_preset_and_no_empty_cell() -> None:
    from kcompressd import _core

    text = KERNEL_MAP.read_text()
    assert re.findall(r"^\| \S+ \| `([\w-]+)` \|", text, re.M) == _core.presets()
    assert [line for line in text.splitlines() if line.startswith("|") and re.search(r"\|\s*\|", line)] == []


def test_every_document_that_is_named_exists() -> None:
    files = [
        p
        for d in ("docs", "python", "rust", "tests")
        for p in (ROOT / d).rglob("*")
        if p.suffix in {".md", ".py", ".rs"}
    ]
    files += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    named = {(p.name, name) for p in files for name in re.findall(r"docs/([\w.-]+\.md)", p.read_text())}
    sources = [p for p in files if p.suffix == ".rs" and p.parent.name != "lz4"]  # Which cites the format's own.
    named |= {(p.name, name) for p in sources for name in re.findall(r"(?:^|[\s`(])([\w-]+\.md)\b", p.read_text())}
    linked = {
        (p.name, name) for p in (ROOT / "docs").glob("*.md") for name in re.findall(r"\]\(([\w-]+\.md)", p.read_text())
    }
    assert {name for _, name in named | linked if not (ROOT / "docs" / name).is_file()} == set()


def test_proofs_say_what_make_proofs_writes() -> None:
    page, writer = (ROOT / "docs/proofs.md").read_text(), runpy.run_path(str(ROOT / "tools/make_proofs.py"))
    texts = ("HEAD", "BOUNDS", "REDUCTIONS", "NOT", "INJECTED", "CORES", "MUTANTS")
    assert [name for name in texts if writer[name] not in page] == []
    assert [row for row in writer["survivors"]() if row not in page.splitlines()] == []
