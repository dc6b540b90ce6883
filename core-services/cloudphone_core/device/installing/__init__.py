"""Apps on phones: what the app service asks for becomes operations, and their works do it over ADB.

works, ends = works_of(Installer(ApkCache(folder, most, fetch))), SETTLE
"""

from .cache import ApkCache, Damaged, Fetch
from .requests import subscribe_installing
from .works import SETTLE, Installer, works_of

__all__ = ["SETTLE", "ApkCache", "Damaged", "Fetch", "Installer", "subscribe_installing", "works_of"]
