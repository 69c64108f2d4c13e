"""Turns the process that runs this file into a PostgreSQL program that is bound to its parent and owns little.

Run as a file (`python -I -S embedded_launch.py PARENT UID GID DIRECTORY PROGRAM ARGUMENT...`): it gives up root, asks
the kernel for an interrupt when the parent ends, enters the directory and becomes the program. A program of its own
rather than `preexec_fn`, because Python code between fork and exec can deadlock in a process that has threads, and
whoever supervises a database here also runs Ray. The order matters: the kernel forgets the wish for an interrupt when
the user changes, and keeps it when the program does.
"""

import ctypes
import os
import signal
import sys

UNREACHABLE = os.EX_NOPERM
NOT_EXECUTABLE = 126
ORPHANED = os.EX_TEMPFAIL

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Become the program; return an exit status only if that fails."""
    parent, uid, gid, directory, *command = arguments
    os.umask(0o077)
    # Loaded before root is given up: the library may lie where only root can read.
    library = ctypes.CDLL(None)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
    if os.getppid() != int(parent):
        return ORPHANED
    try:
        os.chdir(directory)
    except OSError as error:
        os.write(2, f"cannot enter {directory}: {error.strerror}\n".encode())
        return UNREACHABLE
    try:
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
        return NOT_EXECUTABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
