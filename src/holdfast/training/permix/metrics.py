"""What is written of every step: reward, KL and zero variance, by persona and kind of persona.

    metrics.jsonl   one line per step; no times in it

A group without variance (all of its rollouts right, or all wrong) has no advantage and teaches
nothing. TRL tells the share of such groups over all prompts; whom a persona keeps from
learning shows only persona by persona. The book also holds every group against the rows that it
was made from: one item in each, and per prompt one persona.

This module knows rows, rewards and a file. It knows no trainer and no texts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.records import Record, dumps
from holdfast.persona.pool import Member
from holdfast.training.permix.mixing import NOBODY, Row

NAME = "metrics.jsonl"
PATIENCE = 10  # steps without any variance after which a run is stopped
# What the trainers call it, and what it is called here.
LOGGED = {
    "loss": "loss",
    "kl": "kl",
    "entropy": "entropy",
    "grad_norm": "gradient",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut",
    "num_tokens": "tokens",
}


class Book:
    """The steps so far, and a place for more; in `folder` where there is one to write to."""

    def __init__(
        self,
        folder: Path | None,
        rows: Sequence[Row],
        personas: Sequence[Member],
        *,
        rollouts: int,
        per: str,
        steps: int = 0,
    ) -> None:
        """`steps` are kept of what an earlier process wrote; later ones are done again."""
        self.rows, self.personas = rows, personas
        self.rollouts, self.per = rollouts, per
        self.path = folder / NAME if folder else None
        self.lines: list[Record] = read(folder)[:steps] if folder else []
        self._now: Record = {}
        if self.path is not None and self.path.exists():
            aside = self.path.with_suffix(".part")
            aside.write_text("".join(dumps(one) + "\n" for one in self.lines), encoding="utf-8")
            aside.replace(self.path)

    def score(self, numbers: Sequence[int], rewards: Sequence[float]) -> None:
        """The rewards of one step's rollouts, in their groups; `numbers` are those of their rows.

        Raises `HoldfastError` where a group is not what was drawn for it.
        """
        size = self.rollouts
        groups = [
            ([self.rows[n] for n in numbers[i : i + size]], rewards[i : i + size])
            for i in range(0, len(numbers), size)
        ]
        for rows, _ in groups:
            check(rows, self.per)
        self._now = {
            "reward": _mean(rewards),
            "zero_variance": _mean([float(_flat(paid)) for _, paid in groups]),
            "by_kind": _table(groups, self._kind),
            "by_persona": _table(groups, self._id),
        }

    def close(self, step: int, logged: Mapping[str, Any], samples: Sequence[Record] = ()) -> Record:
        """The step's line, written.

        Raises `HoldfastError` where no group has had any variance in the first steps.
        """
        told = {ours: logged[theirs] for theirs, ours in LOGGED.items() if theirs in logged}
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in told.items()}
        line = json.loads(dumps({"step": step, **rounded, **self._now, "samples": list(samples)}))
        self.lines.append(line)
        self._now = {}
        if self.path is not None:
            try:
                with self.path.open("ab") as file:
                    file.write((dumps(line) + "\n").encode())
            except OSError as error:
                raise RunError(
                    f"{self.path} could not be written ({error.strerror}); make room there and "
                    "run the same command again, which goes on from the last checkpoint."
                ) from error
        self._give_up()
        return dict(line)

    def _give_up(self) -> None:
        shares = [line.get("zero_variance") for line in self.lines]
        if len(shares) == PATIENCE and all(share == 1 for share in shares):
            reward = _mean([line["reward"] for line in self.lines])
            raise HoldfastError(
                f"in {PATIENCE} steps every group of rollouts had one reward throughout (the mean "
                f"is {reward:g}), so nothing can be learned: choose tasks that the model solves "
                "sometimes, more rollouts, or a higher temperature."
            )

    def _kind(self, row: Row) -> str:
        return "none" if row.persona == NOBODY else self.personas[row.persona].kind

    def _id(self, row: Row) -> str:
        return "none" if row.persona == NOBODY else self.personas[row.persona].id


def check(rows: Sequence[Row], per: str) -> None:
    """Raise `HoldfastError` where a group has more than one item, or per prompt two personas."""
    mixed = per == "prompt" and len({row.persona for row in rows}) > 1
    if mixed or len({row.item for row in rows}) > 1:
        raise HoldfastError(
            "a group of rollouts mixes personas or items that were not drawn for it; the trainer "
            "has reordered the rows, so use the versions of trl that permix is tested with."
        )


def read(folder: Path) -> list[Record]:
    """The lines of a run's metrics; a torn last one is left out."""
    path = folder / NAME
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


def _table(groups: Sequence[tuple[list[Row], Sequence[float]]], name: Any) -> Record:
    """Rollouts and accuracy, groups and their share without variance, by name."""
    paid: dict[str, list[float]] = defaultdict(list)
    flat: dict[str, list[float]] = defaultdict(list)
    for rows, rewards in groups:
        for row, reward in zip(rows, rewards, strict=True):
            paid[name(row)].append(reward)
        for one in _names(rows, name):
            flat[one].append(float(_flat(rewards)))
    return {
        one: {
            "n": len(paid[one]),
            "accuracy": _mean(paid[one]),
            "groups": len(flat[one]),
            "zero_variance": _mean(flat[one]),
        }
        for one in sorted(paid)
    }


def _names(rows: Sequence[Row], name: Any) -> Iterator[str]:
    yield from dict.fromkeys(name(row) for row in rows)


def _flat(rewards: Sequence[float]) -> bool:
    return max(rewards) == min(rewards)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6) if values else 0.0
