"""The guard that keeps tests off the network is itself switched on."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_to_another_machine_is_refused() -> None:
    with socket.socket() as reaching, pytest.raises(Exception, match="tests need no network"):
        reaching.connect(("192.0.2.1", 80))  # TEST-NET-1 of RFC 5737: never a real machine


def test_a_connection_to_this_machine_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as reaching:
        reaching.connect(server.getsockname())
        assert reaching.getpeername() == server.getsockname()
