"""Who calls, as far as the transport can tell."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.domain.errors import PermissionDeniedError
from retrieval.domain.model import Viewer
from retrieval.transport.validate import text as checked_text
from retrieval.transport.validate import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from retrieval.v1 import common_pb2 as common_pb

MAX_GROUPS = 1000
MAX_USER_ID_BYTES = 256


@dataclass(frozen=True, slots=True)
class Caller:
    """The metadata of a call and the token that makes an administrator of the caller; empty: nobody is one."""

    metadata: Callable[[], Iterable[tuple[str, str | bytes]] | None]
    admin_token: str = ""

    @property
    def is_admin(self) -> bool:
        """Whether the call carries `authorization: Bearer <admin token>`."""
        if not self.admin_token:
            return False
        expected = f"Bearer {self.admin_token}".encode()
        return any(
            hmac.compare_digest(value.encode() if isinstance(value, str) else value, expected)
            for key, value in self.metadata() or ()
            if key == "authorization"
        )

    def require_admin(self, what: str) -> None:
        """Refuse anybody else; `what` is what they asked for. Raises: PermissionDeniedError (ADMIN_TOKEN_REQUIRED)."""
        if not self.is_admin:
            raise PermissionDeniedError(
                f"{what} needs the metadata `authorization: Bearer <admin token>`", reason="ADMIN_TOKEN_REQUIRED"
            )

    def viewer(self, message: common_pb.Viewer, field: str) -> Viewer:
        """The viewer of a request. Raises: PermissionDeniedError (UNRESTRICTED_VIEWER_DENIED)."""
        if message.unrestricted and not self.is_admin:
            raise PermissionDeniedError(
                f"{field}.unrestricted needs the metadata `authorization: Bearer <admin token>`",
                reason="UNRESTRICTED_VIEWER_DENIED",
            )
        return Viewer(
            checked_text(message.user_id, f"{field}.user_id", MAX_USER_ID_BYTES),
            texts(message.group_ids, f"{field}.group_ids", MAX_GROUPS, MAX_USER_ID_BYTES),
            message.unrestricted,
        )
