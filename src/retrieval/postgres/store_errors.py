"""What an error of the database means for a caller: one table by SQLSTATE, and what the driver raises by itself.

The texts of the database go to the log alone. What the table does not know is a defect of the service.
Codes: PostgreSQL documentation, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from retrieval.domain.errors import (
    ConflictError,
    DeadlineExceededError,
    FailedPreconditionError,
    NotFoundError,
    ResourceExhaustedError,
    RetrievalError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

log = logging.getLogger(__name__)


def _unreachable() -> RetrievalError:
    return UnavailableError("the database cannot be reached at the moment; try again")


def _conflict() -> RetrievalError:
    return ConflictError("other writers keep changing the same rows; try again")


def _busy() -> RetrievalError:
    return UnavailableError(
        "the database waited too long for a lock of another transaction; try again", reason="DATABASE_LOCKED"
    )


def _too_slow() -> RetrievalError:
    return DeadlineExceededError("the database statement took too long and was cancelled")


def _gone() -> RetrievalError:
    return NotFoundError("the collection was deleted meanwhile", reason="COLLECTION_NOT_FOUND")


def _read_only() -> RetrievalError:
    return UnavailableError(
        "the database takes no writes at the moment: it is a standby, or default_transaction_read_only is on; an "
        "operator points RETRIEVAL_DATABASE_URL at the primary, or the failover ends",
        reason="DATABASE_READ_ONLY",
    )


def _disk_full() -> RetrievalError:
    return ResourceExhaustedError(
        "the disk of the database is full; an operator makes room, then the same request succeeds",
        reason="DATABASE_DISK_FULL",
    )


def _out_of_memory() -> RetrievalError:
    return ResourceExhaustedError(
        "the database ran out of memory or of another resource; try again, and if it lasts, an operator raises its "
        "limits",
        reason="DATABASE_OUT_OF_RESOURCES",
    )


def _too_complex() -> RetrievalError:
    return ResourceExhaustedError(
        "the request is beyond what the database can hold in one statement or one index entry; ask for less at once",
        reason="DATABASE_LIMIT",
    )


def _no_rights() -> RetrievalError:
    return FailedPreconditionError(
        "the service's database role lacks a right on its own tables; an operator grants it, the server's log says "
        "on what",
        reason="RIGHTS_MISSING",
    )


def _no_login() -> RetrievalError:
    return UnavailableError(
        "the database refuses the service's login; an operator corrects RETRIEVAL_DATABASE_URL",
        reason="ROLE_REFUSED",
    )


def _outdated() -> RetrievalError:
    return FailedPreconditionError(
        "the database does not have the schema of this release; an operator runs `retrieval migrate up`",
        reason="SCHEMA_OUTDATED",
    )


def _pooled() -> RetrievalError:
    return FailedPreconditionError(
        "the database connection changes its session between statements, as a pooler in transaction mode does; an "
        "operator gives RETRIEVAL_DATABASE_URL a direct or a session-pooled connection",
        reason="POOLED_TRANSACTIONS",
    )


def _encoding() -> RetrievalError:
    return FailedPreconditionError(
        "the database cannot store a character of the text; an operator creates it with ENCODING 'UTF8'",
        reason="DATABASE_ENCODING",
    )


def _corrupted() -> RetrievalError:
    return FailedPreconditionError(
        "the database reports damaged data or a damaged index; an operator looks at its log, and runs REINDEX or "
        "restores a backup",
        reason="DATABASE_CORRUPTED",
    )


BY_SQLSTATE: Mapping[str, Callable[[], RetrievalError]] = {
    "0A000": _unreachable,  # only as a stale plan: see `meaning`
    "22021": _encoding,
    "22P05": _encoding,
    "23503": _gone,  # every foreign key leads up to a collection
    "23505": _conflict,
    "25006": _read_only,
    "26000": _pooled,
    "3D000": _no_login,
    "3F000": _outdated,
    "42501": _no_rights,
    "42P01": _gone,  # a partition goes away with its collection between the look-up and the statement
    "42P05": _pooled,
    "53100": _disk_full,
    "53300": _unreachable,
    "55P03": _busy,
    "57014": _too_slow,
    "XX001": _corrupted,
    "XX002": _corrupted,
}
"""By the whole code. It comes before the class."""

BY_CLASS: Mapping[str, Callable[[], RetrievalError]] = {
    "08": _unreachable,
    "25": _unreachable,  # a session in a state that a lost or reset connection left
    "28": _no_login,
    "40": _conflict,
    "53": _out_of_memory,
    "54": _too_complex,
    "55": _busy,
    "57": _unreachable,
    "58": _unreachable,
}
"""By the first two characters of the code. Classes that are missing (data, syntax, constraints) are defects."""

_GONE_TEXTS = ("could not open relation with OID", "cache lookup failed for")
_RACE_TEXTS = ("tuple concurrently updated", "tuple concurrently deleted", "could not find tuple for")
"""XX000 has no codes of its own for what a statement meets that races with DDL. These texts are not translated."""


def meaning(error: BaseException) -> RetrievalError | None:
    """What a caller is told of an error of the database or its driver; None: it is a defect of the service."""
    if isinstance(error, RetrievalError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _of_sqlstate(error)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError | OSError | EOFError):
        # asyncpg marks wrong arguments as ValueError; everything else is a connection that went away under a statement.
        return None if isinstance(error, ValueError) else _unreachable()
    if isinstance(error, RuntimeError) and "closed" in str(error):
        return _unreachable()  # uvloop's word for a transport that went away under a write
    return None


def _of_sqlstate(error: asyncpg.PostgresError) -> RetrievalError | None:
    code = error.sqlstate or ""
    if code == "0A000" and not isinstance(error, asyncpg.InvalidCachedStatementError):
        return None
    if code == "23514" and error.constraint_name is None:
        return _gone()  # no partition for the row
    if code == "XX000":
        text = str(error.args[0]) if error.args else ""
        if text.startswith(_GONE_TEXTS):
            return _gone()
        return _conflict() if text.startswith(_RACE_TEXTS) else None
    make = BY_SQLSTATE.get(code) or BY_CLASS.get(code[:2])
    return None if make is None else make()


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the database become errors that callers are told; their own texts go to the log alone."""
    try:
        yield
    except Exception as error:
        told = meaning(error)
        if told is None or told is error:
            raise
        log.warning("%s: %s: %s", told.reason, type(error).__name__, error)
        raise told from error
