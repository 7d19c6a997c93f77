"""How often a password may be guessed: so many log-ins of an address and of a name, and then one every few seconds.

The name is limited too, since one who guesses may have many addresses; generously, since one who knows the name could
otherwise keep its owner out.
"""

from __future__ import annotations

from typing import Final

from gpuyard.api.errors import RateLimited
from gpuyard.api.proxies import neighbourhood
from gpuyard.api.ratelimit import RateLimiter

PER_SECOND: Final = 1 / 6
OF_ADDRESS, OF_NAME = 10, 20


class LogIns:
    def __init__(self) -> None:
        self._addresses = RateLimiter(PER_SECOND, OF_ADDRESS)
        self._names = RateLimiter(PER_SECOND, OF_NAME)

    def take(self, address: str, username: str) -> None:
        """One try. Raises RateLimited."""
        try:
            self._addresses.take(neighbourhood(address))
            self._names.take(username.casefold())
        except RateLimited as error:
            wait = error.data["retry_after"]
            raise RateLimited(f"too many log-ins: try again in {wait} s", retry_after=wait) from None
