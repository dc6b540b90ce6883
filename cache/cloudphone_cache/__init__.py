"""The aggregation cache: composed views, kept in Redis and in process, never served as fresh once older than announced.

It knows no domain: views are declared by who shows them, versions and changes come from who owns the data.
"""

from .aggregation import Cache, Explained, Written
from .asgi import Door, HotRoute, HotViews
from .composition import observed
from .feed import Appender, Beat, Change, Tail
from .freshness import token_headers, token_in
from .knowledge import Knowledge, Position
from .local import Held
from .redis import RedisAway, RedisRefused
from .response import Served
from .view import NOBODY, Answered, Audience, View

__all__ = [
    "NOBODY",
    "Answered",
    "Appender",
    "Audience",
    "Beat",
    "Cache",
    "Change",
    "Door",
    "Explained",
    "Held",
    "HotRoute",
    "HotViews",
    "Knowledge",
    "Position",
    "RedisAway",
    "RedisRefused",
    "Served",
    "Tail",
    "View",
    "Written",
    "observed",
    "token_headers",
    "token_in",
]
