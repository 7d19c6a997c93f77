"""The roll of providers: which there are, how each stands, and what Scheduler, people and store are told of that."""

from __future__ import annotations

from typing import Any, Final

from gpuyard.actors.model.clock import iso
from gpuyard.actors.model.cloud_book import Book
from gpuyard.actors.model.cloud_circuit import from_row
from gpuyard.actors.model.cloud_prices import PriceTable
from gpuyard.actors.model.errors import NotAllowed, NotFound
from gpuyard.actors.model.events import ProviderFacts
from gpuyard.actors.model.people import Viewer
from gpuyard.actors.model.registers import PutRecord
from gpuyard.actors.model.views import ProviderView

REGISTER: Final = "provider"
SETTINGS = "`gpuyard config show` says where the settings are; a server reads them when it starts"


class Roll:
    """`names` in the order in which they are shown; `books` are those that can be called, `missing` says of the others
    why not. `disabled` ones are sent no more jobs."""

    def __init__(self, prices: PriceTable) -> None:
        self.names: list[str] = []
        self.books: dict[str, Book] = {}
        self.missing: dict[str, str] = {}
        self.disabled: set[str] = set()
        self._prices = prices
        self._revision = 0

    def restore(self, rows: list[dict[str, Any]], now_wall: float) -> None:
        """What the store kept of them."""
        for row in rows:
            if not row["enabled"]:
                self.disabled.add(row["name"])
            if row["name"] in self.books:
                self.books[row["name"]].circuit = from_row(row, now_wall)

    def set_enabled(self, name: str, enabled: bool) -> None:
        if enabled:
            self.disabled.discard(name)
        else:
            self.disabled.add(name)

    def row(self, name: str) -> PutRecord:
        """What the store shall keep: a circuit outlives a restart."""
        values = {"name": name, "enabled": name not in self.disabled, **self.books[name].circuit.row()}
        return PutRecord(register=REGISTER, values=values)

    def facts(self) -> ProviderFacts:
        """For the Scheduler; each newer than the last."""
        self._revision += 1
        refused = {**self.missing, **dict.fromkeys(self.disabled, "it is disabled")}
        live = {name: book for name, book in self.books.items() if name not in refused}
        return ProviderFacts(
            revision=self._revision,
            available=tuple(name for name, book in live.items() if book.circuit.closed),
            down={name: book.circuit.why for name, book in live.items() if not book.circuit.closed},
            refused=refused,
            retry_at={name: book.circuit.retry_at for name, book in live.items() if book.circuit.open},
            prices=self._prices,
        )

    def view(self, name: str) -> ProviderView:
        """For people."""
        book, disabled = self.books.get(name), name in self.disabled
        if book is None:
            return ProviderView(name=name, enabled=False, health="not_configured", circuit="", why=self.missing[name])
        circuit = book.circuit
        return ProviderView(
            name=name,
            enabled=not disabled,
            health="disabled" if disabled else "ok" if circuit.closed else "down",
            circuit=str(circuit.state),
            running=sum(run.end is None for run in book.runs.values()),
            capabilities=book.capabilities.words(),
            configured=True,
            why=circuit.why,
            retry_at=iso(circuit.retry_at) if circuit.open else None,
            prices=self._prices.usd_per_hour.get(name, {}),
            default_hardware=self._prices.default_hardware.get(name),
        )

    def check(self, name: str, by: Viewer) -> None:
        """May `by` test or change it? Raises NotAllowed and NotFound."""
        if not by.is_admin:
            raise NotAllowed("only an admin tests and changes providers")
        if name in self.missing:
            raise NotFound(f"the provider {name} takes no jobs: {self.missing[name]} ({SETTINGS})")
        if name not in self.books:
            raise NotFound(f"there is no provider {name}; `gpuyard cloud providers list` names them")
