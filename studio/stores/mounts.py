"""Which kind of file system a folder lies on, and what can be relied on there."""

from __future__ import annotations

import os
from pathlib import Path

NETWORK = frozenset(
    {
        "nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "afs", "ceph", "glusterfs", "lustre",
        "gpfs", "beegfs", "orangefs", "pvfs2", "ocfs2", "gfs2", "ncpfs", "coda", "davfs", "fuse.sshfs", "fuse.s3fs",
        "fuse.gcsfuse", "fuse.rclone", "fuse.goofys", "fuse.glusterfs", "fuse.ceph",
    }
)  # fmt: skip
"""File systems that other machines write to, or that are another machine's."""

_NFS = frozenset({"nfs", "nfs3", "nfs4"})
_SHARED_BY_A_HOST = frozenset({"vboxsf", "prl_fs", "vmhgfs", "drvfs", "fakeowner", "osxfs"})


def file_system(folder: Path, mounts: str | None = None) -> str:
    """The kind of file system at `folder`, such as `ext4`; "" where the system does not tell.

    Args:
        mounts: text in the form of /proc/self/mounts; None reads that file.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape")
        except OSError:
            return ""
    wanted, best, kind = os.path.realpath(folder), "", ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1]
        for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
            point = point.replace(code, char)
        below = wanted == point or wanted.startswith(point.rstrip("/") + "/")
        if below and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def keeps_folder_times(folder: Path, mounts: str | None = None) -> bool:
    """Whether the times of this folder, once opened, tell of every rename into it, by any machine.

    So they do on a disk of this machine and, by POSIX and by NFS's close-to-open rule, on NFS. What is reached through
    a user's program (FUSE), a virtual machine's host or another protocol may keep or make up times of its own.
    """
    kind = file_system(folder, mounts)
    vague = not kind or kind in NETWORK - _NFS or kind in _SHARED_BY_A_HOST or kind.startswith("fuse")
    return not vague
