"""What the yard knows of approvals: the rules, what waits for a person, and what the rules ask about users.

All of it is in the store too, so a restart changes no answer: rules and approvals are rows of their own, the jobs of
a day are counted from the story, and a user of whom a job was let in once has a row for ever.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from gpuyard.actors.model.approvals import Approval, ApprovalRule, Decision
from gpuyard.actors.model.clock import iso, iso_or_none, utc_day
from gpuyard.actors.model.commit import Snapshot
from gpuyard.actors.model.outbox import Now, Outbox
from gpuyard.actors.model.registers import PutRecord

HOUR = 3_600.0
DAY = 86_400.0


class ApprovalBook:
    """`pending` holds the approvals that wait, the oldest first; `let_in` users who need no approval as newcomers."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.rules: dict[int, ApprovalRule] = {rule.id: rule for rule in snapshot.rules}
        self.pending: dict[int, Approval] = {approval.id: approval for approval in snapshot.approvals}
        self.next_rule, self.next_approval = snapshot.next_rule, snapshot.next_approval
        self.let_in: set[int] = set(snapshot.let_in)
        self._submits: Counter[tuple[str, int]] = Counter({(day, user): n for day, user, n in snapshot.submits})
        self._pruned_on = ""

    def submitted_today(self, user_id: int, now: Now) -> int:
        """How many jobs the user submitted on this UTC day, whatever became of them."""
        return self._submits[utc_day(now.wall), user_id]

    def note_submit(self, user_id: int, now: Now) -> None:
        day = utc_day(now.wall)
        self._submits[day, user_id] += 1
        if day != self._pruned_on:
            # A clock that is put back over midnight finds the day before still counted.
            keep = utc_day(now.wall - DAY)
            self._submits = Counter({key: number for key, number in self._submits.items() if key[0] >= keep})
            self._pruned_on = day

    def note_let_in(self, user_id: int, now: Now, out: Outbox) -> None:
        """A job of the user is let into the queue."""
        if user_id not in self.let_in:
            self.let_in.add(user_id)
            out.row(PutRecord("submitter", {"user_id": user_id, "first_at": iso(now.wall)}))

    # --- approvals ---------------------------------------------------------------------------------------------

    def file(self, job_id: str, approval: Approval, out: Outbox) -> int:
        """Number an approval that is asked for and write it down; its number."""
        number, self.next_approval = self.next_approval, self.next_approval + 1
        self._put(msgspec.structs.replace(approval, id=number, job_id=job_id), out)
        return number

    def close(
        self, number: int | None, decision: Decision, now: Now, out: Outbox, by: str | None, reason: str | None = None
    ) -> None:
        """Write down what was decided (`by` None: by the clock), if the approval still waits."""
        approval = self.pending.get(number or 0)
        if approval is not None:
            del self.pending[approval.id]
            reason = reason or None
            final = {"status": decision, "decided_by": by, "decided_at": now.wall, "decision_reason": reason}
            self._put(msgspec.structs.replace(approval, **final), out)

    def _put(self, approval: Approval, out: Outbox) -> None:
        if approval.status is Decision.PENDING:
            self.pending[approval.id] = approval
        values = msgspec.structs.asdict(approval)
        times = {name: iso_or_none(values[name]) for name in ("requested_at", "decided_at")}
        out.row(PutRecord("approval", {**values, **times, "status": str(approval.status)}))

    def expires_at(self, approval: Approval, hours: float | None) -> float | None:
        """When it fails undecided, with `approval_expiry_hours` as given."""
        return None if hours is None else approval.requested_at + hours * HOUR

    def first_expiry(self, hours: float | None) -> float | None:
        """When the first of those that wait expires."""
        for approval in self.pending.values():
            return self.expires_at(approval, hours)
        return None
