"""The picture that stands for an app: a PNG or WebP file in the APK, for an adaptive icon that of its foreground."""

from .archive import Archive
from .binary_xml import Reference, elements
from .chunks import Malformed
from .refusal import ApkRefused
from .resources import ResourceTable

LARGEST = 512 << 10
"""Bytes; a larger picture is passed over."""
_LARGEST_XML = 64 << 10


def find_icon(archive: Archive, table: ResourceTable, reference: Reference) -> bytes | None:
    """The one with most dots per inch, None when there is none that we can show."""
    try:
        candidates = sorted(table.texts(reference), key=lambda found: -found.density)
        for candidate in candidates:
            picture = _picture(archive, candidate.text)
            if picture is not None:
                return picture
        for candidate in candidates:
            foreground = _foreground(archive, candidate.text)
            if foreground is not None and foreground != reference:
                for found in sorted(table.texts(foreground), key=lambda found: -found.density):
                    picture = _picture(archive, found.text)
                    if picture is not None:
                        return picture
    except Malformed:
        pass
    return None


def _picture(archive: Archive, name: str) -> bytes | None:
    if not name.endswith((".png", ".webp")):
        return None
    try:
        picture = archive.read(name, at_most=LARGEST)
    except ApkRefused:
        return None
    if picture and (picture.startswith(b"\x89PNG\r\n\x1a\n") or (picture[:4], picture[8:12]) == (b"RIFF", b"WEBP")):
        return picture
    return None


def _foreground(archive: Archive, name: str) -> Reference | None:
    try:
        layers = archive.read(name, at_most=_LARGEST_XML) if name.endswith(".xml") else None
    except ApkRefused:
        return None
    for element in elements(layers or b""):
        drawable = element.attributes.get("drawable")
        if element.path == ("adaptive-icon", "foreground") and isinstance(drawable, Reference):
            return drawable
    return None
