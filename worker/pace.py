"""Steps per second over the last few seconds, from reports of how far a run is."""

from collections import deque

WINDOW_SECONDS = 10.0


class Pace:
    """A sliding window over reports."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, float]] = deque()

    def rate(self, step: int, at: float) -> float | None:
        """Steps per second since the oldest report in the window; None at the first.

        Args:
            step: optimizer steps done.
            at: seconds, on a clock that never goes back.
        """
        while len(self._seen) > 1 and at - self._seen[0][1] > WINDOW_SECONDS:
            self._seen.popleft()
        self._seen.append((step, at))
        first_step, first_at = self._seen[0]
        return (step - first_step) / (at - first_at) if at > first_at else None
