"""How much time may go into watching: a share of all time, with some credit for quiet times."""

#: What may be spent at once after a quiet time, as if it had been saved for so many seconds.
CREDIT_SECONDS = 1.0


class Budget:
    """Says whether more may be spent now.

    Args:
        share: seconds that may be spent per second; infinity is no limit.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._open_at = float("-inf")

    def is_open(self, now: float) -> bool:
        """Whether what was spent is paid for.

        Args:
            now: seconds of a clock that never goes back.
        """
        return now >= self._open_at

    def spend(self, seconds: float, now: float) -> None:
        """Note what was spent."""
        self._open_at = max(self._open_at, now - CREDIT_SECONDS) + seconds / self._share
