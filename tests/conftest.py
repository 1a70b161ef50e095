"""What every test runs under: one thread and no network."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

# Set before anything imports torch or huggingface_hub, which read them once. Two OpenMP pools on
# two cores slow each other down; offline, a lookup on the hub fails at once instead of retrying.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# A shell ignores Ctrl-C for what it starts in the background, and so do all that this starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import settings

# A busy machine makes an example slow and a test no worse.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


class NetworkUsed(Exception):
    """A test reached for another machine."""


def _is_here(family: int, address: Any) -> bool:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return True
    host = address[0]
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Connections to this machine pass; any other raises `NetworkUsed`."""

    def guard(connect: Any) -> Any:
        def guard(self: socket.socket, address: Any) -> Any:
            if not _is_here(self.family, address):
                raise NetworkUsed(f"tests need no network, and this one asked for {address!r}")
            return connect(self, address)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guard(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))
        yield
