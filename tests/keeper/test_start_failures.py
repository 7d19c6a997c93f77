"""What cannot start says in one sentence why, in its end and in its log, and leaves nothing running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.keeper.host import Host


def failure(host: Host) -> str:
    end = host.end()
    assert (end.exit_class, end.exit_code, end.started_at) == ("start_failed", None, None)
    assert end.message in host.log()
    return end.message


def test_a_missing_program(host: Host) -> None:
    host.run("no-such-program", "--fast")
    assert failure(host) == "program 'no-such-program' was not found in PATH"


def test_a_missing_program_with_a_path(host: Host) -> None:
    host.run("./train.sh")
    assert failure(host) == "program './train.sh' does not exist"


def test_the_path_of_the_runs_own_environment_counts(host: Host, tmp_path: Path) -> None:
    tool = tmp_path / "mytool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    host.run("mytool", env={"PATH": str(tmp_path)})
    assert host.end().exit_class == "completed"
    assert host.log() == "found\n"


def test_a_missing_folder(host: Host, tmp_path: Path) -> None:
    host.run("/bin/true", cwd=str(tmp_path / "gone"))
    assert failure(host) == f"folder {tmp_path / 'gone'} does not exist"


def test_a_folder_that_is_a_file(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    host.run("/bin/true", cwd=str(tmp_path / "file"))
    assert failure(host) == f"{tmp_path / 'file'} is not a folder"


def test_a_program_without_execute_permission(host: Host, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n")
    host.run("./script", cwd=str(tmp_path))
    assert failure(host) == "program './script' may not be executed: it has no execute permission"


def test_a_folder_as_program(host: Host, tmp_path: Path) -> None:
    host.run(str(tmp_path))
    assert failure(host) == f"program '{tmp_path}' is a folder"


def test_a_script_without_a_first_line(host: Host, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    host.run(str(script))
    assert "a script needs a first line such as '#!/bin/sh'" in failure(host)


def test_a_script_whose_interpreter_is_missing(host: Host, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    host.run(str(script))
    assert "names an interpreter that does not exist" in failure(host)


@pytest.mark.parametrize("env", [{"A=B": "1"}, {"A": "nul\0"}, {"": "1"}])
def test_an_impossible_environment(host: Host, env: dict[str, str]) -> None:
    host.run("/bin/true", env=env)
    assert "the command or its environment is not possible" in failure(host)


def test_a_nul_in_the_command(host: Host) -> None:
    host.run("/bin/echo", "a\0b")
    assert "not possible" in failure(host)


def test_too_long_arguments(host: Host) -> None:
    host.run("/bin/echo", "x" * 3_000_000)
    assert "its arguments and environment are too long" in failure(host)


def test_a_file_outside_the_jobs_folder(host: Host) -> None:
    host.run("/bin/true", files={"../../escape": "x"})
    assert "would lie outside the job's folder" in failure(host)
    assert not (host.data_dir / "escape").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may enter every folder")
def test_a_folder_without_permission(host: Host, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o600)
    host.run("/bin/true", cwd=str(closed))
    assert failure(host) == f"folder {closed} may not be entered: permission denied"


def test_the_next_run_is_not_harmed(host: Host) -> None:
    host.run("no-such-program")
    host.end()
    host.shell("echo fine", fence=2)
    assert host.end(2).exit_class == "completed"
