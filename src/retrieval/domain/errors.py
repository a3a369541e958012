"""Every error a caller can cause, each with a stable reason and a message that says what to do.

The transport maps these classes to gRPC statuses in one table; nothing else decides a status.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One offending field of a request: its path (`options.filter.must[0].match.values[1]`) and what is wrong."""

    field: str
    description: str


class RetrievalError(Exception):
    """Base of all errors that reach a caller.

    `reason` is UPPER_SNAKE_CASE and never changes for a given cause; `message` is for people.
    """

    reason = "UNKNOWN"

    def __init__(self, message: str, *, reason: str | None = None, violations: tuple[Violation, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.violations = violations
        if reason is not None:
            self.reason = reason


class InvalidArgumentError(RetrievalError):
    """The request is wrong whatever the state of the service."""

    reason = "INVALID_REQUEST"

    @classmethod
    def of(cls, field: str, description: str, *, reason: str | None = None) -> InvalidArgumentError:
        """One violation, which is also the message."""
        return cls(f"{field}: {description}", reason=reason, violations=(Violation(field, description),))

    def under(self, prefix: str) -> InvalidArgumentError:
        """The same error with every field path put below `prefix`."""
        moved = tuple(Violation(f"{prefix}.{v.field}", v.description) for v in self.violations)
        message = "; ".join(f"{v.field}: {v.description}" for v in moved) or self.message
        return InvalidArgumentError(message, reason=self.reason, violations=moved)


class NotFoundError(RetrievalError):
    """What the request names does not exist."""

    reason = "NOT_FOUND"


class AlreadyExistsError(RetrievalError):
    """What the request would create is there."""

    reason = "ALREADY_EXISTS"


class FailedPreconditionError(RetrievalError):
    """The request is right but the state of the service does not allow it now."""

    reason = "FAILED_PRECONDITION"


class PermissionDeniedError(RetrievalError):
    """The caller may not do this."""

    reason = "PERMISSION_DENIED"


class ResourceExhaustedError(RetrievalError):
    """Something that the service needs is used up."""

    reason = "RESOURCE_EXHAUSTED"


class OverloadedError(ResourceExhaustedError):
    """The service sheds load; try again after `retry_after_s` seconds."""

    reason = "OVERLOADED"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(RetrievalError):
    """The store cannot be reached at the moment; try again."""

    reason = "STORE_UNAVAILABLE"


class ConflictError(UnavailableError):
    """Other writers got in between; the same request succeeds when it is tried again."""

    reason = "WRITE_CONFLICT"


class DeadlineExceededError(RetrievalError):
    """The time the caller allowed ran out."""

    reason = "DEADLINE_EXCEEDED"
