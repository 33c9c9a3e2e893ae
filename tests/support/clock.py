"""A clock that a test moves."""


class Clock:
    """Monotonic seconds; set `now` to let time pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
