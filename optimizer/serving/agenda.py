"""Requests on their way through a fleet, and what happens next."""

import heapq
from collections.abc import Callable

Act = Callable[[int], None]
"""What happens; it is told the time, ns."""


class Request:
    """One request: when it came and what it asks; then when its first token came, when it began to decode, and when it ended, ns."""

    __slots__ = ("arrived_ns", "done_ns", "first_ns", "input_tokens", "joined_ns", "number", "output_tokens")

    def __init__(self, number: int, arrived_ns: int, input_tokens: int, output_tokens: int) -> None:
        self.number, self.arrived_ns, self.input_tokens, self.output_tokens = number, arrived_ns, input_tokens, output_tokens
        self.first_ns = self.joined_ns = self.done_ns = 0  # set as they happen: a replay ends when every request has ended

    @property
    def ttft_ns(self) -> int:
        """Time to the first token."""
        return self.first_ns - self.arrived_ns

    @property
    def tpot_ns(self) -> int:
        """Mean time of a token after the first, waits for a slot included, rounded down."""
        return (self.done_ns - self.first_ns) // self.output_tokens

    @property
    def request_ns(self) -> int:
        """Time of the whole request."""
        return self.done_ns - self.arrived_ns


class Agenda:
    """What is to happen, in order of time; of one time, in the order in which it was entered."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Act]] = []
        self._entered = 0

    def enter(self, ns: int, act: Act) -> None:
        """Have `act` happen at `ns`."""
        self._entered += 1
        heapq.heappush(self._entries, (ns, self._entered, act))

    def run(self) -> None:
        """Everything, until nothing is left."""
        while self._entries:
            ns, _, act = heapq.heappop(self._entries)
            act(ns)
