"""Group commit: one transaction for all, each commit whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuyard.actors.model.commands import Commit
from gpuyard.actors.model.commit import DeleteJobRow, Row
from gpuyard.actors.store import groups
from gpuyard.actors.store.database import Database
from tests.support_store import BAD, T0, ended, opened, started, submitted


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "jobs.db") as made:
        yield made


def commit(number: int, *rows: Row) -> Commit:
    return Commit(generation=1, number=number, rows=rows)


def test_a_group_is_one_transaction(database: Database) -> None:
    statements: list[str] = []
    database.connection.set_trace_callback(statements.append)
    outcome = groups.write(database, [commit(n, *submitted(n)) for n in range(1, 101)])
    database.connection.set_trace_callback(None)
    assert outcome == groups.Outcome(done=100, results={})
    assert sum(text.startswith("BEGIN") for text in statements) == 1
    assert sum(text == "COMMIT" for text in statements) == 1
    assert database.snapshot(T0).counts == {"pending": 100}


def test_commits_before_the_failed_one_are_kept_and_nothing_after_it(database: Database) -> None:
    outcome = groups.write(
        database,
        [commit(1, *submitted(1)), commit(2, *submitted(2)), commit(3, *submitted(3), BAD), commit(4, *submitted(4))],
    )
    assert (outcome.done, outcome.error, outcome.disk) == (2, "job nobody is not pending", False)
    assert [job.id for job in database.snapshot(T0).jobs] == [1, 2]


def test_a_failing_first_commit_leaves_nothing(database: Database) -> None:
    outcome = groups.write(database, [commit(1, *submitted(1), BAD), commit(2, *submitted(2))])
    assert (outcome.done, outcome.results) == (0, {})
    assert database.snapshot(T0).counts == {}


def test_results_stand_under_their_commits_number(database: Database) -> None:
    over = (*submitted(1), *started(1, 1), *ended(1, 1))
    outcome = groups.write(
        database,
        [commit(7, *over), commit(8, DeleteJobRow("job000001"), DeleteJobRow("nobody")), commit(9, *submitted(9), BAD)],
    )
    assert outcome.done == 2
    assert {number: [found.found for found in results] for number, results in outcome.results.items()} == {
        8: [True, False]
    }


def test_a_later_commit_sees_what_an_earlier_one_of_its_group_did(database: Database) -> None:
    assert (
        groups.write(database, [commit(1, *submitted(1)), commit(2, *started(1, 1)), commit(3, *ended(1, 1))]).done == 3
    )


def test_a_database_at_its_size_limit_says_full_and_goes_on_with_more_room(database: Database) -> None:
    connection = database.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    group = [commit(n, *submitted(n, error_message="x" * 3000)) for n in range(1, 50)]
    outcome = groups.write(database, group)
    assert (outcome.done, outcome.disk, outcome.broken) == (0, True, False)
    assert "is full: nothing was accepted" in (outcome.error or "")
    assert not connection.in_transaction
    assert database.snapshot(T0).counts == {}
    connection.execute("PRAGMA max_page_count = 1000000")
    assert groups.write(database, group).done == 49
