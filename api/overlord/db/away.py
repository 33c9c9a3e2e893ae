"""
When the database is away: what its library raises then, and how it is said.

Away is whatever passes without anybody changing the request: the same call is worth another try in a moment. So all
of this becomes Unavailable, which is answered 503 with Retry-After.
"""

import socket

import asyncpg

DATABASE_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""
OperatorIntervention: it starts, stops, crashed, or a statement was cancelled. InsufficientResources: no connection,
disk or memory left. ReadOnly: a standby that is not promoted yet, or a primary that no longer is one.
TransactionRollback: it chose us to resolve a deadlock. InterfaceError: a connection that broke under us.
InternalClientError: one that breaks in the moment in which a statement is begun on it, or no host that takes writes.
"""


def in_words(error: BaseException) -> str:
    """Why the database did not do what it was asked, as the end of a sentence."""
    match error:
        case socket.gaierror():
            return "no machine has that name"
        case ConnectionRefusedError() | FileNotFoundError():
            return "nobody listens there"
        case TimeoutError():
            return "it said nothing for too long"
        case asyncpg.ReadOnlySQLTransactionError():
            return f"it takes no writes at present ({error})"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error)
