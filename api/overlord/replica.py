"""What one replica of the Overlord holds open: its settings, its pool, its ear for hints, a clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from overlord.db.hints import Hints
from overlord.db.pool import Pool
from overlord.settings import OverlordSettings


def wall_clock_ms() -> int:
    """Milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Replica:
    """Connections and caches, never state: what a replica knows is in Postgres."""

    settings: OverlordSettings
    pool: Pool
    hints: Hints
    secret: bytes = field(repr=False)
    """From which the tokens of attempts are derived; the same in all replicas of one database."""
    clock_ms: Callable[[], int] = wall_clock_ms

    @property
    def url(self) -> str:
        """The one address of all replicas."""
        settings = self.settings
        scheme = "http" if settings.tls_certificate is None else "https"
        return settings.public_url or f"{scheme}://{settings.host}:{settings.port}"


def replica_of(request: Request) -> Replica:
    """The replica that serves `request`."""
    replica: Replica = request.app.state.replica
    return replica
