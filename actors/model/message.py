"""What every message has in common (DESIGN 3, "Messages").

A command is imperative, has one receiver and a typed reply; its errors go to the asker. An event is past tense
and has any number of listeners. The same frozen class travels in the process (pykka) and on a wire (msgpack,
tagged by its class name; unknown fields are ignored). Fields are never renamed or retyped; new ones have defaults.
"""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """`cause` is the id of the request that began the story, so that one grep tells it."""

    cause: str = ""


class Ping(Message, frozen=True, kw_only=True):
    """Are you alive? Reply: True, from the actor's own thread. Repeat: harmless."""


class Shutdown(Message, frozen=True, kw_only=True):
    """End in order: finish what is in the inbox, then stop. Reply: True. Repeat: harmless."""


class Tick(Message, frozen=True, kw_only=True):
    """The safety net's clock beat (5 s for the Scheduler). From: the actor's own timer. Repeat: harmless."""
