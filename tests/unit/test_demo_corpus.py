"""The demo corpus: what is in it, under which names, and with which text."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest

from vecmigrate.demo import corpus

ITEMS = {item.id: item for item in corpus.load()}


def test_it_is_large_enough_and_not_much_larger() -> None:
    assert 2500 <= len(ITEMS) <= 3700


def test_ids_are_unique_and_sorted() -> None:
    ids = [item.id for item in corpus.load()]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("name", "kind", "module", "fragment"),
    [
        ("len", "function", "builtins", "number of items in a container"),
        ("str.split", "method", "builtins", "list of the"),
        ("dict.setdefault", "method", "builtins", "Insert key with a value of default if key is not in the dictionary"),
        ("asyncio.create_task", "function", "asyncio", "Schedule the execution of a coroutine object"),
        ("asyncio.gather", "function", "asyncio", "Return a future aggregating results"),
        ("collections.Counter", "class", "collections", "counting hashable items"),
        ("itertools.groupby", "class", "itertools", "consecutive keys and groups"),
        ("functools.lru_cache", "function", "functools", "Least-recently-used cache decorator"),
        ("pathlib.Path.glob", "method", "pathlib", "pattern"),
        ("datetime.datetime.strptime", "method", "datetime", "string, format"),
        ("sqlite3.Connection.execute", "method", "sqlite3", "SQL statement"),
        ("subprocess.Popen.communicate", "method", "subprocess", "Interact with process: Send data to stdin"),
        ("os.path.join", "function", "os.path", "Join two or more pathname components"),
        ("typing.Optional", "class", "typing", "None"),
        ("json", "module", "json", "JavaScript Object Notation"),
        ("operator.itemgetter", "class", "operator", "fetches the given item"),
    ],
)
def test_known_items(name: str, kind: str, module: str, fragment: str) -> None:
    item = ITEMS[name]
    assert (item.kind, item.module, item.title) == (kind, module, name)
    assert item.text.startswith(name)
    assert fragment in item.text


def test_the_text_is_the_name_the_signature_and_the_docstring() -> None:
    assert ITEMS["shutil.which"].text.startswith("shutil.which(cmd, mode=1, path=None)\n\nGiven a command, mode, and a PATH string,")


@pytest.mark.parametrize(
    "name",
    [
        "asyncio.tasks.gather",  # the public name is asyncio.gather
        "posixpath.join",  # os.path.join
        "builtins.len",  # len
        "pathlib.PurePath.joinpath",  # pathlib.Path.joinpath is the same object
        "frozenset.union",  # repeats set.union
        "object.__init__",
        "math.pi",  # data has no documentation of its own
        "antigravity",
        "this",
    ],
)
def test_what_is_left_out(name: str) -> None:
    assert name not in ITEMS


def test_no_private_names() -> None:
    assert not [name for name in ITEMS if any(part.startswith("_") for part in name.split("."))]


def test_texts_are_short_whole_and_free_of_addresses() -> None:
    for item in ITEMS.values():
        assert len(item.text) <= 300
        assert item.text == item.text.rstrip()
        assert " at 0x" not in item.text
        assert sys.executable not in item.text


def test_a_long_text_is_cut_at_the_end_of_a_sentence_or_a_line() -> None:
    assert corpus._cut("a" * 40 + ". " + "b " * 400) == "a" * 40 + ". " + "b " * 128 + "b"
    assert corpus._cut("a" * 200 + ". " + "b " * 400) == "a" * 200 + "."
    assert corpus._cut("short") == "short"


def test_every_kind_is_well_represented() -> None:
    kinds = [item.kind for item in ITEMS.values()]
    assert {kind: kinds.count(kind) > 100 for kind in set(kinds)} == {"module": True, "class": True, "function": True, "method": True}


def test_every_process_builds_the_same_corpus_without_a_word() -> None:
    # Fresh processes: a test runner replaces hooks such as threading.excepthook in its own.
    code = "import hashlib; from vecmigrate.demo import corpus; print(hashlib.sha256(repr(corpus.load()).encode()).hexdigest())"
    outputs = set()
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, env=env)
        assert done.stderr == ""
        outputs.add(done.stdout)
    (only,) = outputs
    assert len(only.strip()) == 64


def test_what_the_process_has_done_so_far_is_not_in_it() -> None:
    handler = logging.StreamHandler()
    assert ITEMS["logging.shutdown"].text.startswith("logging.shutdown(handlerList=[])\n\n")
    assert {item.id: item for item in corpus.load()}["logging.shutdown"] == ITEMS["logging.shutdown"]
    handler.close()
