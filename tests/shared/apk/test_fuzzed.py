"""Whatever the file holds: it is read or refused, soon and in little memory."""

import contextlib
import io
import struct
import time
import tracemalloc
from zipfile import ZipFile

from hypothesis import given, settings
from hypothesis import strategies as some

from cloudphone_shared.apk import Apk, ApkRefused, read_apk, read_icon
from cloudphone_shared.apk.binary_xml import Reference, elements
from cloudphone_shared.apk.resources import ResourceTable
from tests.apks import ADAPTIVE, apk, archive, manifest

WORDS = some.sampled_from([0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
CHANGES = some.lists(some.tuples(some.integers(0, 1 << 16), WORDS), min_size=1, max_size=6)
MANIFEST = manifest("org.example.game", 1, 21, "Game", ".Main")


def changed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """With some of its 32-bit words replaced."""
    found = bytearray(data)
    for at, word in changes:
        struct.pack_into("<I", found, at % (len(found) - 4), word)
    return bytes(found)


def read_or_refused(data: bytes) -> Apk | None:
    try:
        read_icon(io.BytesIO(data))
        return read_apk(io.BytesIO(data))
    except ApkRefused as refused:
        assert refused.detail
        assert refused.failure.startswith("INSTALL_")
        return None


@settings(max_examples=100, deadline=None)
@given(data=some.one_of(some.binary(max_size=500), some.binary(max_size=200).map(lambda rest: b"PK\3\4" + rest)))
def test_bytes(data: bytes) -> None:
    assert read_or_refused(data) is None


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_a_changed_apk(changes: list[tuple[int, int]]) -> None:
    read_or_refused(changed(ADAPTIVE.read_bytes(), changes))


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_a_changed_manifest_in_a_sound_archive(changes: list[tuple[int, int]]) -> None:
    read_or_refused(archive({"AndroidManifest.xml": changed(MANIFEST, changes)}))


@settings(max_examples=100, deadline=None)
@given(changes=CHANGES)
def test_a_changed_table_of_resources(changes: list[tuple[int, int]]) -> None:
    data = changed(_table(), changes)
    try:
        table = ResourceTable(data)
        for number in range(0x7F010000, 0x7F060000, 0x10000):
            table.texts(Reference(number))
    except ApkRefused:
        pass


def test_overlapping_strings_do_not_multiply() -> None:
    """100,000 names, each the same 60 KB: what is decoded has a limit, whatever is pointed at."""
    letters = b"a\0" * 30_000
    count = 100_000
    offsets = b"".join(struct.pack("<I", number % 1000 * 2) for number in range(count))
    pool_size = 28 + len(offsets) + len(letters)
    pool = struct.pack("<HHIIIIII", 1, 28, pool_size, count, 0, 0, 28 + len(offsets), 0) + offsets + letters
    node = b"".join(
        struct.pack("<HHIIIIIHHHHHH", 0x0102, 16, 36, 1, 0xFFFFFFFF, 0xFFFFFFFF, number, 20, 20, 0, 0, 0, 0)
        for number in range(190)
    )
    data = struct.pack("<HHI", 3, 8, 8 + len(pool) + len(node)) + pool + node
    tracemalloc.start()
    began = time.process_time()
    with contextlib.suppress(ApkRefused):
        list(elements(data))
    assert time.process_time() - began < 5
    assert tracemalloc.get_traced_memory()[1] < 80 << 20
    tracemalloc.stop()


def test_a_large_apk_is_read_in_little_memory() -> None:
    whole = apk(ballast=12 << 20)
    file = io.BytesIO(whole)
    tracemalloc.start()
    assert read_apk(file).size == len(whole)
    assert tracemalloc.get_traced_memory()[1] < 6 << 20
    tracemalloc.stop()


def _table() -> bytes:
    with ZipFile(ADAPTIVE) as zip_:
        return zip_.read("resources.arsc")
