"""The programs on the phone. Importing this makes them known to its shell."""

from . import activities, files, grep, listing, logging, packages, power, properties, reports, screen, system, text

__all__ = [
    "activities",
    "files",
    "grep",
    "listing",
    "logging",
    "packages",
    "power",
    "properties",
    "reports",
    "screen",
    "system",
    "text",
]
