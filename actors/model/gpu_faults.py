"""What the driver's fault reports mean, in words.

Sources: NVIDIA's "Xid Errors" catalogue; the health checks of Kubernetes device plugins ignore the same application
Xids.
"""

from __future__ import annotations

from typing import Final

# A program did this to itself (its kernel crashed, its context was torn down): the GPU is fine.
APPLICATION_XIDS: Final = frozenset({8, 13, 31, 43, 45, 68, 109})

XID_WORDS: Final[dict[int, str]] = {
    32: "corrupted push buffer",
    38: "driver firmware error",
    48: "double-bit ECC error",
    61: "internal microcontroller breakpoint",
    62: "internal microcontroller halt",
    63: "a memory row is to be remapped: reset the GPU",
    64: "a memory row could not be remapped",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of single-bit ECC errors",
    94: "contained ECC error",
    95: "uncontained ECC error: reset the GPU",
    119: "the GPU's firmware does not answer",
    120: "error in the GPU's firmware",
    140: "unrecovered ECC error",
}


def xid_fault(number: int) -> str | None:
    """The fault that Xid `number` stands for; None when it only concerns the program that caused it.

    >>> xid_fault(79)
    'Xid 79 (the GPU has fallen off the bus)'
    """
    if number in APPLICATION_XIDS:
        return None
    words = XID_WORDS.get(number)
    return f"Xid {number} ({words})" if words else f"Xid {number}"


def size(amount: float) -> str:
    """`amount` bytes for a person.

    >>> size(1.5 * 2**30), size(300 * 2**20)
    ('1.5 GiB', '300 MiB')
    """
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
