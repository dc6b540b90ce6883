"""The aggregation cache: composed views, kept in Redis and in process, never served as fresh once older than announced.

It knows no domain: views are declared by who shows them, versions and changes come from who owns the data.
"""

from .aggregation import Cache, Written
from .announcing import Announcer
from .asgi import Door, HotRoute, HotViews
from .composition import Missing, observed
from .explaining import Explained
from .feed import Appender, Beat, Change, Tail
from .freshness import token_headers, token_in
from .knowledge import Knowledge, Position
from .local import Held
from .redis import RedisAway, RedisRefused
from .response import Served
from .view import NOBODY, Answered, Audience, View, everybody

__all__ = [
    "NOBODY",
    "Announcer",
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
    "Missing",
    "Position",
    "RedisAway",
    "RedisRefused",
    "Served",
    "Tail",
    "View",
    "Written",
    "everybody",
    "observed",
    "token_headers",
    "token_in",
]
