"""Job secrets: values that a job names and that only its run gets to see, as environment variables.

A secret belongs to a user. Everywhere but in its file and in the run's environment there is only its name: in job
descriptions, the database, events, answers and the journals of workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gpuyard.actors.model import bounds

NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
LARGEST: Final = 16_384
MOST: Final = 100
"""Of one user."""
MOST_NAMED: Final = 16
"""By one job."""


def name(value: object) -> str:
    """A secret's name. Raises ValueError, as the functions of `bounds` do."""
    if not isinstance(value, str) or not bounds.matches(NAME, value):
        raise ValueError("must be 1 to 64 letters, digits and underscores, and not begin with a digit")
    return value


def names(value: object) -> tuple[str, ...]:
    """The secrets that a job asks for, without duplicates."""
    if not isinstance(value, list | tuple):
        raise ValueError('must be a list of names, such as ["hf"]')
    found = []
    for item in value:
        try:
            found.append(name(item))
        except ValueError as error:
            raise ValueError(f"holds what is no name of a secret: each {error}") from None
    if len(found) > MOST_NAMED:
        raise ValueError(f"must have at most {MOST_NAMED} names")
    return tuple(dict.fromkeys(found))


def variable(value: object) -> str:
    """The environment variable in which a run finds a secret."""
    if not isinstance(value, str):
        raise ValueError("must be text")
    return next(iter(bounds.env({value: ""})))


def default_variable(secret: str) -> str:
    """
    >>> default_variable("wandb_api_key")
    'WANDB_API_KEY'
    """
    return secret.upper()


def content(value: object) -> str:
    """The value itself, which no error repeats."""
    found = bounds.text(value, LARGEST, controls=True)
    if not found:
        raise ValueError("must not be empty")
    if len(found.encode()) > LARGEST:
        raise ValueError(f"must have at most {LARGEST} bytes")
    return found


def missing(wanted: Sequence[str]) -> str:
    """Why a job that names these cannot run.

    >>> missing(["hf"])
    'there is no secret hf of yours: `gpuyard secrets set hf`, then submit again'
    """
    one = len(wanted) == 1
    listed = ", ".join(wanted)
    return (
        f"there {'is no secret' if one else 'are no secrets'} {listed} of yours:"
        f" `gpuyard secrets set {wanted[0] if one else 'NAME'}`, then submit again"
    )


def clash(first: str, second: str, variable: str) -> str:
    return (
        f"the secrets {first} and {second} would both be {variable}:"
        f" give one another variable with `gpuyard secrets set {second} --env VARIABLE`"
    )
