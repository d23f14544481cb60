"""Memory for tensors on the CPU: what is freed is kept for the next tensor of its size.

glibc gives large blocks back to the system as soon as they are freed. The next tensor is then paid for with a page
fault per 4 KiB, which takes a good part of the time of a restoration (results/speed.md).
"""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 1 << 30  # bytes of freed memory that stay with the process
_LARGE = 1 << 29  # blocks from this size on are still given back at once


def keep_freed_memory() -> bool:
    """Let this process keep up to 1 GiB of freed memory for reuse, blocks of at least 512 MiB apart.

    It concerns the whole process, so it is left to the program that runs the networks: `dp-ir` does it.

    Returns:
        Whether it could be done: only glibc (Linux) has such a setting, and needs it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))
