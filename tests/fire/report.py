"""What a trial by fire tells: figures against their bars, and every broken promise in words."""

from __future__ import annotations

from dataclasses import dataclass, field

SHOWN = 20


@dataclass
class Report:
    """`figures` are what was done and measured; a trial passes when `problems` is empty."""

    title: str
    figures: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def figure(self, name: str, value: object, bar: str = "") -> None:
        """A line of the table; `bar` is what was promised, in words."""
        self.figures[name] = f"{value}" + (f"  (bar: {bar})" if bar else "")

    def broken(self, promise: str) -> None:
        self.problems.append(promise)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        width = max(map(len, self.figures), default=0)
        lines = [self.title, *(f"  {name:<{width}}  {value}" for name, value in self.figures.items())]
        if self.problems:
            lines.append(f"  BROKEN: {len(self.problems)}")
            lines += [f"    {problem}" for problem in self.problems[:SHOWN]]
            if len(self.problems) > SHOWN:
                lines.append(f"    … and {len(self.problems) - SHOWN} more")
        else:
            lines.append("  every promise held")
        return "\n".join(lines)
