"""Reading samples of a process."""

from tests.bench.profiles import summary

SAMPLES = """\
<module> (server.py:1);Runner.run (runners.py:9);answer (asgi.py:10);write (redis.py:7) 30
<module> (server.py:1);Runner.run (runners.py:9);answer (asgi.py:14) 10
Thread.run (threading.py:3);Condition.wait (threading.py:5) 60
"""


def test_shares_are_of_the_thread_that_runs_the_loop() -> None:
    lines = summary(SAMPLES).splitlines()
    assert "100.0%  25.0%  answer (asgi.py)" in lines
    assert " 75.0%  75.0%  write (redis.py)" in lines
    assert not any("threading" in line for line in lines)
