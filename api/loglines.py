"""The bytes of a log → lines for a stream of events, with the byte offset after each.

`\n` and `\r\n` end a line. A lone `\r` (a progress bar drawn over itself) ends one too, but of those that follow one
another in the same piece only the last is given, as a terminal would show it. Bytes that are not UTF-8 become the
replacement character; a line longer than `LONGEST` is given in parts.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LONGEST: Final = 65_536

# A `\r` at the very end may be the first half of `\r\n`: it waits for what follows.
_ENDS = re.compile(rb"\r\n|\n|\r(?!\Z)")


class Line(NamedTuple):
    """`after` is the offset of the byte behind it: where reading goes on."""

    text: str
    after: int


class LineSplitter:
    """Feed it a log from `offset` on, piece by piece."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._rest = b""
        self._drawn: Line | None = None
        self._bar = False  # what was given last was a bar that no newline has ended yet

    @property
    def offset(self) -> int:
        """Where the next piece begins."""
        return self._offset + len(self._rest)

    def go_on_at(self, offset: int) -> None:
        """Forget what is incomplete: the log is read from another place on."""
        self._offset, self._rest, self._drawn, self._bar = offset, b"", None, False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that are complete now."""
        lines: list[Line] = []
        buffer, start = self._rest + data, 0
        for end in _ENDS.finditer(buffer):
            segment, after = buffer[start : end.start()], self._offset + end.end()
            if end.group() == b"\r":
                self._drawn = Line(_text(segment), after) if segment else self._drawn
            else:
                # A bare newline after a progress bar leaves the bar standing.
                if segment or not (self._drawn or self._bar):
                    lines.append(Line(_text(segment), after))
                elif self._drawn:
                    lines.append(Line(self._drawn.text, after))
                self._drawn, self._bar = None, False
            start = end.end()
        while len(buffer) - start > LONGEST:
            cut = _whole_characters(buffer, start, start + LONGEST)
            lines.append(Line(_text(buffer[start:cut]), self._offset + cut))
            start = cut
        if self._drawn is not None:
            lines.append(self._drawn)
            self._drawn, self._bar = None, True
        self._offset += start
        self._rest = buffer[start:]
        return lines

    def finish(self) -> list[Line]:
        """What is left when the log has ended without a newline."""
        rest, self._rest = self._rest.removesuffix(b"\r"), b""
        self._offset += len(rest)
        return [Line(_text(rest), self._offset)] if rest else []


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").replace("\r", "")


def _whole_characters(buffer: bytes, start: int, cut: int) -> int:
    """`cut`, moved back by at most three bytes so that no UTF-8 character is torn."""
    for back in range(4):
        if cut - back > start and buffer[cut - back] & 0xC0 != 0x80:
            return cut - back
    return cut


def last_lines(data: bytes, count: int) -> int:
    """Where in `data` its last `count` lines begin."""
    end = len(data)
    position = end - 1 if data.endswith(b"\n") else end
    for _ in range(count):
        position = data.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1 if count else end
