"""Signed webhooks after the Standard Webhooks scheme, as Replicate sends them.

Signed is `ID.TIMESTAMP.BODY` by HMAC-SHA256; the key is the base64 after `whsec_`. The header `webhook-signature` is a
list of `v1,SIGNATURE`, of which one must be right. An old message is refused, so that nobody sends it again.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from gpuyard.actors.cloud.provider import Forged
from gpuyard.actors.model.webhooks import signing

TOLERANCE: Final = 300.0


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`. Raises Forged for a secret that is none."""
    try:
        return signing.sign(secret, message_id, timestamp, body)
    except ValueError as error:
        raise Forged("our signing secret is not base64") from error


def check(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raises Forged unless the message is signed with `secret` and at most five minutes old."""
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise Forged("it is not signed")
    if abs(now - int(stamp)) > TOLERANCE:
        raise Forged("its time stamp is more than five minutes off")
    right = sign(secret, message_id, int(stamp), body).partition(",")[2]
    for entry in headers.get("webhook-signature", "").split():
        version, _, given = entry.partition(",")
        if version == "v1" and hmac.compare_digest(given.encode(), right.encode()):
            return
    raise Forged("its signature is wrong")
