"""Network file systems, where SQLite's locks and shared memory do not hold between hosts: refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MOUNTINFO: Final = Path("/proc/self/mountinfo")

NETWORK: Final = frozenset(
    {
        "afs", "beegfs", "beegfs_nodev", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "pvfs2", "smb3", "smbfs",
    }
)  # fmt: skip
NETWORK_FUSE: Final = (
    "ceph", "davfs", "gcsfuse", "glusterfs", "goofys", "juicefs", "rclone", "s3fs", "smbnetfs", "sshfs",
)  # fmt: skip


def network_mount(path: Path, mountinfo: str | None = None) -> str | None:
    """The type of the network file system that holds `path` (absolute, links resolved); None when it is local.

    `mountinfo` is the text of /proc/self/mountinfo (see proc(5)).
    """
    if mountinfo is None:
        mountinfo = MOUNTINFO.read_text(errors="surrogateescape") if MOUNTINFO.exists() else ""
    best, kind, options = Path(), "", ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(tail) < 3:
            continue
        point = Path(_unescape(fields[4]))
        # Of two mounts at one point the later one lies on top.
        if path.is_relative_to(point) and len(point.parts) >= len(best.parts):
            best, kind, options = point, tail[0], tail[2]
    return kind if _is_network(kind, options) else None


def _is_network(kind: str, options: str) -> bool:
    if kind == "9p":
        # 9p is also what some sandboxes call their own root; over TCP, or a Windows drive in WSL, it is remote.
        return "trans=tcp" in options or "aname=drvfs" in options
    if kind.startswith("fuse."):
        return kind.removeprefix("fuse.").startswith(NETWORK_FUSE)
    return kind in NETWORK


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
