"""Stands between the supervisor and each program: ties the program's life to the supervisor's, then becomes it.

Run as a script, without the package: `launch.py PARENT_PID DEATH_SIGNAL USER COMMAND…`. USER is `same`, `mapped` (the
program sees itself as an unprivileged user, while its files stay root's) or the number of the user to become.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
CLONE_NEWUSER = 0x10000000
NOBODY = 65_534


def main() -> None:
    parent, death_signal, user, *command = sys.argv[1:]
    if user == "mapped":
        enter_user_namespace()
    elif user != "same":
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))
    # Last, because a change of user clears it.
    die_with(int(parent), int(death_signal))
    if command:
        os.execv(command[0], command)  # noqa: S606


def die_with(parent: int, death_signal: int) -> None:
    """Have the kernel send us `death_signal` when `parent` ends; ends us now if it has."""
    if sys.platform == "linux":
        _checked(_libc().prctl(PR_SET_PDEATHSIG, death_signal))
    if os.getppid() != parent:
        sys.exit("the supervisor ended before this program began")


def rename(name: str) -> None:
    """What `ps -o comm` and `top` call this process; 15 bytes of it."""
    if sys.platform == "linux":
        _libc().prctl(PR_SET_NAME, name.encode())


def enter_user_namespace() -> None:
    """Become user nobody in a user namespace of our own. Raises OSError where the machine does not allow that."""
    uid, gid = os.getuid(), os.getgid()
    _checked(_libc().unshare(CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{NOBODY} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{NOBODY} {gid} 1")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


if __name__ == "__main__":
    main()
