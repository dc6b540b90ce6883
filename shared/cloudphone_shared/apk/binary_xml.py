"""Android's compiled XML, as the elements it is made of."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from .chunks import Chunk, Malformed, StringPool, chunk_at, chunks, unpack

_XML, _RESOURCE_MAP, _START, _END = 0x0003, 0x0180, 0x0102, 0x0103
_ELEMENT = struct.Struct("<IIHHHHHH")
_ATTRIBUTE = struct.Struct("<IIIHBBI")
_END_ELEMENT = struct.Struct("<II")
_REFERENCE, _STRING, _FIRST_INTEGER, _BOOLEAN, _LAST_INTEGER = 0x01, 0x03, 0x10, 0x12, 0x1F
_DEEPEST = 200


class Reference(NamedTuple):
    """To a resource, by its number."""

    id: int


Value: TypeAlias = str | int | bool | Reference | None

ATTRIBUTES = {
    0x01010001: "label",
    0x01010002: "icon",
    0x01010003: "name",
    0x0101000F: "debuggable",
    0x01010010: "exported",
    0x01010199: "drawable",
    0x0101020C: "minSdkVersion",
    0x0101021B: "versionCode",
    0x0101021C: "versionName",
    0x01010270: "targetSdkVersion",
    0x01010272: "testOnly",
    0x01010576: "versionCodeMajor",
}
"""Android goes by these numbers; names may be anything. Source: android.R.attr."""


class Element(NamedTuple):
    """`path`: its own name and those of what it is in, outermost first."""

    path: tuple[str, ...]
    attributes: Mapping[str, Value]


def elements(data: bytes) -> Iterator[Element]:
    """In the order of the document. Raises Malformed."""
    document = chunk_at(data, 0, len(data))
    if document.type != _XML:
        raise Malformed("The file is not compiled XML")
    parts = chunks(data, document.body, document.end)
    strings = StringPool(data, next(parts, document))
    names: list[int] = []
    path: tuple[str, ...] = ()
    for chunk in parts:
        if chunk.type == _RESOURCE_MAP:
            count = (chunk.end - chunk.body) // 4
            names = list(struct.unpack_from(f"<{count}I", data, chunk.body))
        elif chunk.type == _START:
            path, attributes = _start(data, chunk, strings, names, path)
            yield Element(path, attributes)
        elif chunk.type == _END:
            path = path[:-1]


def _start(
    data: bytes, chunk: Chunk, strings: StringPool, names: list[int], path: tuple[str, ...]
) -> tuple[tuple[str, ...], dict[str, Value]]:
    _, name, first, size, count, *_ = unpack(_ELEMENT, data, chunk.body, chunk.end)
    at = chunk.body + first
    if len(path) >= _DEEPEST or (count and (size < _ATTRIBUTE.size or at + size * count > chunk.end)):
        raise Malformed
    attributes: dict[str, Value] = {}
    for number in range(count):
        _, key, _, _, _, kind, value = unpack(_ATTRIBUTE, data, at + number * size, chunk.end)
        known = ATTRIBUTES.get(names[key]) if key < len(names) else None
        attributes[known or strings[key]] = _value(kind, value, strings)
    return (*path, strings[name]), attributes


def _value(kind: int, value: int, strings: StringPool) -> Value:
    if kind == _STRING:
        return strings[value]
    if kind == _REFERENCE:
        return Reference(value)
    if kind == _BOOLEAN:
        return value != 0
    if _FIRST_INTEGER <= kind <= _LAST_INTEGER:
        return value
    return None
