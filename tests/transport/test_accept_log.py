"""Connections that cannot be accepted fill no log."""

from __future__ import annotations

import logging

from retrieval.transport.fronts import accept_log
from retrieval.transport.fronts.accept_log import AcceptFilter


def test_one_line_a_while() -> None:
    def record(text: str) -> logging.LogRecord:
        return logging.LogRecord("pygrpc_native.server", logging.WARNING, "", 0, text, (), None)

    limited = AcceptFilter()
    told = [r for r in (record("gRPC accept failed: Too many open files") for _ in range(1500)) if limited.filter(r)]
    assert len(told) == 1
    assert "ulimit -n" in told[0].getMessage()
    assert limited.filter(record("something else"))
    limited._told_at -= accept_log.EVERY_S
    again = record("gRPC accept failed: Too many open files")
    assert limited.filter(again)
    assert "1500 times" in again.getMessage()
