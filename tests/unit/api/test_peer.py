"""Who is at the other end: rows of /proc/net/tcp as the kernel writes them, and a real connection."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from gpuyard.api.peer import Connection, uid_of

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the rows below are of a little-endian kernel")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 8000)
C4, S4 = "0100007F:9C40", "0100007F:1F40"
C6, S6 = "00000000000000000000000001000000:9C40", "00000000000000000000000001000000:1F40"
MAPPED_C, MAPPED_S = "0000000000000000FFFF00000100007F:9C40", "0000000000000000FFFF00000100007F:1F40"


def row(local: str, remote: str, state: str = "01", uid: int = 1000, inode: int = 77) -> str:
    return (
        f"   3: {local} {remote} {state} 00000000:00000000 02:000A1B2C 00000000 {uid:5d}        0 {inode} "
        "2 0000000000000000 20 4 30 10 -1\n"
    )


def tables(folder: Path, tcp: str = "", tcp6: str = "") -> Path:
    (folder / "tcp").write_text(HEAD + tcp)
    (folder / "tcp6").write_text(HEAD + tcp6)
    return folder


def test_the_row_of_the_client_tells_its_user(tmp_path: Path) -> None:
    listening = row("0100007F:1F40", "00000000:0000", state="0A", uid=0)
    folder = tables(tmp_path, listening + row(S4, C4, uid=0) + row(C4, S4, uid=1000))
    assert uid_of(CLIENT, SERVER, folder) == 1000


def test_root_is_a_user_as_any_other(tmp_path: Path) -> None:
    assert uid_of(CLIENT, SERVER, tables(tmp_path, row(C4, S4, uid=0))) == 0


@pytest.mark.parametrize("state", ["02", "03", "04", "05", "06", "07", "08", "09", "0A", "0B"])
def test_only_an_established_row_counts(tmp_path: Path, state: str) -> None:
    assert uid_of(CLIENT, SERVER, tables(tmp_path, row(C4, S4, state=state, uid=0))) is None


def test_a_row_without_an_inode_does_not_count(tmp_path: Path) -> None:
    assert uid_of(CLIENT, SERVER, tables(tmp_path, row(C4, S4, uid=0, inode=0))) is None


def test_the_servers_own_end_is_not_the_client(tmp_path: Path) -> None:
    assert uid_of(CLIENT, SERVER, tables(tmp_path, row(S4, C4, uid=0))) is None


def test_another_connection_from_the_same_port_is_another(tmp_path: Path) -> None:
    assert uid_of(CLIENT, SERVER, tables(tmp_path, row(C4, "0100007F:1F41", uid=0))) is None


def test_ipv6_and_mapped_clients_stand_in_tcp6(tmp_path: Path) -> None:
    assert uid_of(("::1", 40000), ("::1", 8000), tables(tmp_path, "", row(C6, S6, uid=5))) == 5
    assert uid_of(CLIENT, SERVER, tables(tmp_path, "", row(MAPPED_C, MAPPED_S, uid=6))) == 6
    mapped = (("::ffff:127.0.0.1", 40000), ("::ffff:127.0.0.1", 8000))
    assert uid_of(*mapped, tables(tmp_path, row(C4, S4, uid=7))) == 7


def test_without_tables_nobody_is_known(tmp_path: Path) -> None:
    assert uid_of(CLIENT, SERVER, tmp_path / "none") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_real_connection_is_ours(host: str) -> None:
    with socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        with socket.create_connection(server.getsockname()[:2]) as client:
            accepted, _ = server.accept()
            with accepted:
                ends = (client.getsockname()[:2], client.getpeername()[:2])
                assert uid_of(*ends) == os.geteuid()
        assert uid_of(*ends) is None


def test_a_mapped_connection_is_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        accepted, address = server.accept()
        with accepted:
            assert uid_of(address, accepted.getsockname()) == os.geteuid()


def test_a_connection_is_looked_up_once_and_a_failed_look_is_repeated() -> None:
    answers = [None, 1000, 1001]

    async def main() -> None:
        connection = Connection(CLIENT, SERVER)
        found = [await connection.peer_uid(lambda client, server: answers.pop(0)) for _ in range(4)]
        assert found == [None, 1000, 1000, 1000]

    asyncio.run(main())
    assert answers == [1001]


def test_a_connection_without_ends_has_no_user() -> None:
    assert asyncio.run(Connection().peer_uid(lambda client, server: 0)) is None
