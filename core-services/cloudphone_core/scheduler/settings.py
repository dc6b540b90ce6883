"""How patient the scheduler is. All times in seconds."""

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Scheduling(msgspec.Struct, frozen=True, kw_only=True):
    """`scheduler_silence_seconds`: a node not heard of for longer is offline. `scheduler_answer_seconds`: how long a
    device may take to answer a reservation. `scheduler_rest_seconds`: how long one that refused is left alone.
    `scheduler_attempts`: after so many refusals a request is given up. `scheduler_sweep_seconds`: between two looks at
    what has run out, and at the queue. `scheduler_resync_seconds`: between two readings of the whole fleet.
    """

    scheduler_silence_seconds: Seconds = 30.0
    scheduler_answer_seconds: Seconds = 60.0
    scheduler_rest_seconds: Seconds = 5.0
    scheduler_attempts: Annotated[int, msgspec.Meta(ge=1)] = 5
    scheduler_sweep_seconds: Seconds = 1.0
    scheduler_resync_seconds: Seconds = 300.0
