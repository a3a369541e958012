"""What keeps an operator from a database that works, told with the statement or setting that helps.

For connecting, migrating, backing up and restoring, whose errors go to the terminal of whoever started them. What
callers meet while the service runs is for `store_errors.translated`.
"""

from __future__ import annotations

import asyncio
import getpass
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from retrieval.config import URL_FORM, SettingsError
from retrieval.domain.errors import FailedPreconditionError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retrieval.domain.errors import RetrievalError

CONNECT_TIMEOUT_S = 10.0
PROBE_TIMEOUT_S = 10.0
DEFECTS = ("22", "42")
"""Classes of SQLSTATE that speak of a wrong statement, thus of a defect here, but for the codes in `_ADVICE`."""
AWAY = ("08", "57P", "53300")
"""Beginnings of those that speak of a server that is not there, or not yet, or has no place left."""

_POOLED = (
    "a pooler in front of the database does not give each client a session of its own, with its settings ({said}): "
    "name the database itself in RETRIEVAL_DATABASE_URL; the service pools its connections"
)
_WRONG_PASSWORD = (
    "the server refuses the password of role {role}: correct it in RETRIEVAL_DATABASE_URL, which looks like "
    f"{URL_FORM}; or run ALTER ROLE {{role}} PASSWORD '...'"
)
_ROLE_REFUSED = (
    "the server refuses role {role} ({said}): where it does not exist, run CREATE ROLE {role} LOGIN PASSWORD '...'; "
    "where it may not log in, ALTER ROLE {role} LOGIN; where pg_hba.conf does not admit it, add a line there"
)
_NO_DATABASE = (
    "there is no database {database}: run CREATE DATABASE {database}, or name another one in RETRIEVAL_DATABASE_URL"
)
_READ_ONLY = (
    "the database takes no writes ({said}): name the primary server in RETRIEVAL_DATABASE_URL, or, where it is set, "
    "run ALTER DATABASE {database} RESET default_transaction_read_only"
)
_ADVICE = {
    "08P01": ("POOLED_TRANSACTIONS", _POOLED),
    "26000": ("POOLED_TRANSACTIONS", _POOLED),
    "42P05": ("POOLED_TRANSACTIONS", _POOLED),
    "28P01": ("WRONG_PASSWORD", _WRONG_PASSWORD),
    "28000": ("ROLE_REFUSED", _ROLE_REFUSED),
    "3D000": ("NO_SUCH_DATABASE", _NO_DATABASE),
    "42501": ("RIGHTS_MISSING", "role {role} may not do this ({said}); in database {database} run {remedy}"),
    "42704": ("BAD_DATABASE_URL", "RETRIEVAL_DATABASE_URL asks for what the server does not know: {said}"),
    "58P01": ("NO_PGVECTOR", "the server lacks a file of an extension ({said}): install pgvector on the server"),
    "25006": ("DATABASE_READ_ONLY", _READ_ONLY),
    "53100": ("DATABASE_DISK_FULL", "the disk of the database is full ({said}): make room, and repeat"),
    "55P03": ("DATABASE_LOCKED", "others hold what this needs ({said}): stop the service's servers, and repeat"),
}
"""Reason and message by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

GRANTS = "GRANT CONNECT ON DATABASE {database} TO {role}"
OWNERSHIP = (
    "ALTER SCHEMA retrieval OWNER TO {role}, and the same for what is in it, or connect as the role that owns it"
)
"""What helps against a missing right, where nothing is more to the point."""


@dataclass(frozen=True, slots=True)
class Where:
    """A database as it may be shown: without the password. `role` and `database` are quoted as in SQL."""

    place: str
    role: str
    database: str

    @classmethod
    def of(cls, url: str) -> Where:
        """That of a URL."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        role = unquote(parts.username or "") or query.get("user") or getpass.getuser()
        place = parts.netloc.rpartition("@")[2] or query.get("host") or "the local socket"
        return cls(place, _quoted(role), _quoted(unquote(parts.path.removeprefix("/")) or role))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def connect(url: str, **settings: str) -> Any:
    """A connection with these server settings. Raises: as `explained`; SettingsError for a URL that cannot be."""
    try:
        with explained(url, GRANTS):
            return await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    except ssl.SSLError as error:
        raise _unreachable(url, f"TLS failed: {error.reason or error}") from error
    except OSError as error:
        raise _unreachable(url, str(error)) from error
    except SettingsError:
        raise
    except ValueError as error:
        # Its text may hold a part of the password.
        raise SettingsError(f"RETRIEVAL_DATABASE_URL must look like {URL_FORM}") from error


@contextmanager
def explained(url: str, remedy: str = OWNERSHIP) -> Iterator[None]:
    """Errors of the block become what an operator can act on. `remedy`: the SQL that gives a missing right.

    Raises: SettingsError for options of the URL that cannot be; FailedPreconditionError with a reason of `_ADVICE`, or
    DATABASE_REFUSED; UnavailableError (DATABASE_UNREACHABLE), after which it is worth trying again. Wrong statements
    stay what they are.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        code = error.sqlstate or ""
        if code not in _ADVICE and code.startswith(DEFECTS):
            raise
        raise refusal(code, str(error), url, remedy) from error
    except asyncpg.ClientConfigurationError as error:
        raise SettingsError(f"RETRIEVAL_DATABASE_URL cannot be used: {_line(str(error))}") from error
    except TimeoutError as error:
        raise _unreachable(url, "it does not answer") from error
    except (ConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise _unreachable(url, str(error)) from error


def refusal(code: str, said: str, url: str, remedy: str = OWNERSHIP) -> RetrievalError:
    """The error for an SQLSTATE and what the server said with it."""
    where = Where.of(url)
    if code.startswith(AWAY) and code not in _ADVICE:
        return _unreachable(url, said)
    named = {"role": where.role, "database": where.database}
    reason, text = _ADVICE.get(code, ("DATABASE_REFUSED", "the server refuses: {said} (SQLSTATE {code})"))
    message = text.format(said=_line(said), code=code, remedy=remedy.format(**named), **named)
    return FailedPreconditionError(message, reason=reason)


def _unreachable(url: str, cause: str) -> UnavailableError:
    return UnavailableError(
        f"the database at {Where.of(url).place} cannot be reached: {_line(cause)}; is RETRIEVAL_DATABASE_URL right, "
        "and does the server run?",
        reason="DATABASE_UNREACHABLE",
    )


def _line(text: str) -> str:
    return text.splitlines()[0] if text else "no reason given"


async def require_sessions(connection: Any, url: str) -> None:
    """Refuse a pooler that gives each transaction any connection: settings and locks of a session would get lost.

    Two clients never share a server process, and none changes it, unless something in between has them do so.

    Raises: FailedPreconditionError (POOLED_TRANSACTIONS); as `explained`.
    """
    with explained(url):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            first = await _process(connection)
            other = await connect(url)
            try:
                # In a transaction, so that what it holds is not handed on meanwhile.
                async with other.transaction():
                    second = await _process(other)
                    if second != first and await _process(connection) == first:
                        return
            finally:
                await other.close()
    raise pooled("two clients share a server process", url)


def pooled(said: str, url: str) -> RetrievalError:
    """The error for a pooler that mixes sessions."""
    return refusal("26000", said, url)


async def _process(connection: Any) -> int:
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


async def require_writable(connection: Any, url: str) -> None:
    """Refuse a standby, and a database that is set to be read only.

    Raises: FailedPreconditionError (DATABASE_READ_ONLY).
    """
    with explained(url):
        standby = await connection.fetchval("SELECT pg_is_in_recovery()")
        if standby or await connection.fetchval("SHOW transaction_read_only") == "on":
            raise refusal("25006", "it is a standby" if standby else "transactions are read only", url)
