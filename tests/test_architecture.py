"""The house rules that a reader of the code relies on, read from the source with ``ast``."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "store": set(),
    "wal": set(),
    "snapshot": {"store", "wal"},
    "server": {"store", "wal", "snapshot"},
    "tools": {"store", "wal", "snapshot"},
}
MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 70

# Whatever is the log's or a snapshot's goes through ``wal.filesystem``, which the simulated disk stands in for.
FILE_CALLS = {
    "open", "os.open", "os.fdopen", "io.open", "os.write", "os.pwrite", "os.writev", "os.sendfile", "os.fsync",
    "os.fdatasync", "os.sync", "os.truncate", "os.ftruncate", "os.rename", "os.replace", "os.remove", "os.unlink",
    "os.mkdir", "os.makedirs", "os.link", "os.symlink", "mmap.mmap",
}  # fmt: skip
FILE_METHODS = {"write_bytes", "write_text", "read_bytes", "read_text", "NamedTemporaryFile", "mkstemp"}
OWN_FILES = {
    "wal/filesystem.py": "the one interface to the disk",
    "server/lock.py": "the lock holds no data, and flock must be the kernel's own",
    "server/children.py": "a child speaks through a pipe",
    "server/daemon.py": "pid file and /dev/null",
    "server/process_stats.py": "what the kernel says of this process, under /proc",
    "server/bounded_reader.py": "the memory map of this process, under /proc",
    "server/listen.py": "a unix socket that nobody answers on is removed",
    "server/logfile.py": "the log for people, not the write-ahead log",
    "server/config_file.py": "redis.conf, read before there is a server",
}

# Passed in, never reached for: modules whose import would give time, chance or the machine.
STORE_MUST_NOT_IMPORT = {
    "asyncio", "datetime", "io", "mmap", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading", "time", "uuid", "uvloop",
}  # fmt: skip
TYPES_ONLY = {("random", "Random")}
"""Names that may be imported for annotations: the object itself is passed in."""
CLOCKS = {"time", "datetime", "random", "secrets", "uuid"}
WAL_CLOCKS = {
    "wal/executor.py": "the real clock and the real threads, behind the interfaces that wal defines",
    "wal/simulated.py": "a seeded random.Random is passed in",
    "wal/simulated_crash.py": "a seeded random.Random is passed in",
}


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), path)


def modules_in(*folders: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for folder in folders for p in (ROOT / folder).rglob("*.py"))


PRODUCT = modules_in(*FOLDERS)
EVERYTHING = PRODUCT + modules_in("tests", "examples")


def imports_of(path: str) -> Iterator[tuple[int, str, str, int]]:
    """(level, module, name or "", line) of each import, those inside functions included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name, "", node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.level, node.module or "", alias.name, node.lineno


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def file_calls_of(path: str) -> list[str]:
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in FILE_CALLS or name.rpartition(".")[2] in FILE_METHODS:
                found.append(f"{path}:{node.lineno} {name}")
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "io", "shutil", "tempfile"}:
            found += [f"{path}:{node.lineno} from {node.module} import {alias.name}" for alias in node.names]
    return found


def test_there_is_something_to_look_at():
    assert all(modules_in(folder) for folder in FOLDERS), "a folder of the house is missing"


def test_imports_run_from_server_to_store_and_never_back():
    wrong = []
    for path in PRODUCT:
        here = path.split("/")[0]
        for _, module, name, line in imports_of(path):
            parts = module.split(".")
            if parts[0] != "perdure":
                continue
            there = parts[1] if len(parts) > 1 else name
            if there != here and there not in FOLDERS[here]:
                wrong.append(f"{path}:{line} imports perdure.{there}")
    assert not wrong, "\n".join(wrong)


def test_imports_are_absolute_and_by_the_installed_name():
    wrong = []
    for path in EVERYTHING:
        for level, module, name, line in imports_of(path):
            if level:
                wrong.append(f"{path}:{line} relative import of {module or name}")
            elif module.split(".")[0] in FOLDERS:
                wrong.append(f"{path}:{line} imports {module}, whose name is perdure.{module}")
    assert not wrong, "\n".join(wrong)


def test_the_package_list_is_the_folders():
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = sorted("perdure." + str(Path(p).parent).replace("/", ".") for p in PRODUCT if p.endswith("__init__.py"))
    assert sorted(setup["packages"]) == folders
    assert setup["package-dir"] == {f"perdure.{folder}": folder for folder in FOLDERS}


def test_every_folder_with_code_is_a_package():
    bare = sorted({str(Path(p).parent) for p in PRODUCT if not (ROOT / p).with_name("__init__.py").exists()})
    assert not bare, f"no __init__.py, so the wheel leaves it out: {bare}"


def test_every_module_says_what_it_is():
    silent = [path for path in EVERYTHING if not (ast.get_docstring(tree_of(path)) or "").strip()]
    assert not silent, f"no docstring: {silent}"


def test_modules_can_be_read_in_one_sitting():
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in EVERYTHING}
    long = [f"{path}: {count} lines" for path, count in lines.items() if count > MAX_MODULE_LINES]
    assert not long, "\n".join(long)


def test_functions_can_be_seen_at_once():
    long = []
    for path in EVERYTHING:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_files_are_touched_in_the_filesystem_interface_only():
    wrong = [call for path in PRODUCT if path not in OWN_FILES for call in file_calls_of(path)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", OWN_FILES)
def test_every_exception_from_the_filesystem_rule_is_still_one(path):
    assert file_calls_of(path), f"{path} touches no files any more: take it off the list"


def test_every_error_text_has_a_name_of_its_own():
    names = [
        target.id
        for node in tree_of("store/errors.py").body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


def test_store_reaches_for_no_time_chance_or_machine():
    wrong = []
    for path in modules_in("store"):
        for _, module, name, line in imports_of(path):
            if module.split(".")[0] in STORE_MUST_NOT_IMPORT and (module, name) not in TYPES_ONLY:
                wrong.append(f"{path}:{line} imports {module} {name}".rstrip())
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and dotted(node.func) in {"Random", "open", "input", "print"}:
                wrong.append(f"{path}:{node.lineno} calls {dotted(node.func)}()")
    assert not wrong, "\n".join(wrong)


def test_wal_reaches_for_no_time_or_chance():
    wrong = [
        f"{path}:{line} imports {module}"
        for path in modules_in("wal")
        if path not in WAL_CLOCKS
        for _, module, _, line in imports_of(path)
        if module.split(".")[0] in CLOCKS
    ]
    assert not wrong, "\n".join(wrong)


def test_no_promises_are_left_in_the_code():
    words = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "raise NotImplemented" + "Error"]
    left = [
        f"{path}:{number} {line.strip()}"
        for path in EVERYTHING
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if any(word in line for word in words)
    ]
    assert not left, "\n".join(left)
