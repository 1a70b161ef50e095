"""Seeds from names and numbers, the same on every machine."""

from __future__ import annotations

import hashlib


def seed_of(*parts: object) -> int:
    """A 63-bit seed from a path of names and numbers, the same on every machine."""
    # A chat's text may hold half a surrogate pair.
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def numpy_seed(seed: int) -> int:
    """A seed as NumPy and scikit-learn take it: from 0 to 2³² − 1, where a seed stays as it is."""
    return seed % 2**32
