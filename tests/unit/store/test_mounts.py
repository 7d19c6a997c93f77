"""Network file systems are known by the mount table."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuyard.actors.store.mounts import network_mount

TABLE = r"""
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:40 / /home rw,relatime shared:5 - nfs4 filer:/home rw,vers=4.2
31 27 0:41 / /mnt/my\040disk rw - cifs //nas/share rw
32 27 0:42 / /home/local rw - xfs /dev/sdb1 rw
33 27 0:43 / /mnt/remote rw - fuse.sshfs me@host: rw
34 27 0:44 / /mnt/win rw - 9p C:\134 rw,aname=drvfs;path=C:\;uid=1000
35 27 0:45 / /sandbox rw - 9p none rw,trans=fd,rfdno=4
36 27 0:46 / /mnt/over rw - nfs filer:/x rw
37 27 0:47 / /mnt/over rw - tmpfs tmpfs rw
38 27 0:48 / /mnt/portal rw - fuse.portal portal rw
39 27 0:49 / /mnt/smb rw - smb3 //nas/x rw
a line that is none
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/jobs.db", None),
        ("/home/me/jobs.db", "nfs4"),
        ("/homeless/jobs.db", None),
        ("/home/local/jobs.db", None),
        ("/mnt/my disk/jobs.db", "cifs"),
        ("/mnt/remote/jobs.db", "fuse.sshfs"),
        ("/mnt/win/Users/jobs.db", "9p"),
        ("/sandbox/jobs.db", None),
        ("/mnt/over/jobs.db", None),
        ("/mnt/portal/jobs.db", None),
        ("/mnt/smb/jobs.db", "smb3"),
    ],
)
def test_the_innermost_mount_decides(path: str, kind: str | None) -> None:
    assert network_mount(Path(path), TABLE) == kind


def test_the_real_table_is_read(tmp_path: Path) -> None:
    assert network_mount(tmp_path) is None


def test_no_table_means_local() -> None:
    assert network_mount(Path("/x"), "") is None
