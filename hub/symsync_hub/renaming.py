"""A rename that never replaces anything, for protocols that promise so."""

import ctypes
import errno
import functools
import os
import stat
from typing import Any

_NOREPLACE = 1  # RENAME_NOREPLACE, renameat2(2)
_UNKNOWN_FLAG = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def rename_to_free_name(old: str, new: str, *, old_directory: int, new_directory: int) -> None:
    """Rename between two opened directories. Raises FileExistsError where anything lies at `new`, else OSError.

    Where the system or the file system has no such call, a file is linked to its new name, which is as safe; a
    directory is renamed after a look, and may then replace an empty directory that somebody made in between.
    """
    try:
        _renameat2(old, new, old_directory, new_directory)
    except OSError as error:
        if error.errno not in _UNKNOWN_FLAG:
            raise
        _rename_by_other_means(old, new, old_directory, new_directory)


def _renameat2(old: str, new: str, old_directory: int, new_directory: int) -> None:
    function = _system_call()
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if function(old_directory, os.fsencode(old), new_directory, os.fsencode(new), ctypes.c_uint(_NOREPLACE)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old, None, new)


@functools.cache
def _system_call() -> Any:
    return getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)


def _rename_by_other_means(old: str, new: str, old_directory: int, new_directory: int) -> None:
    if not stat.S_ISDIR(os.stat(old, dir_fd=old_directory, follow_symlinks=False).st_mode):
        os.link(old, new, src_dir_fd=old_directory, dst_dir_fd=new_directory, follow_symlinks=False)
        os.unlink(old, dir_fd=old_directory)
        return
    try:
        os.stat(new, dir_fd=new_directory, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(old, new, src_dir_fd=old_directory, dst_dir_fd=new_directory)
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
