"""A run of conversations, read from its folder with what its command planned.

Everything is computed again from the records, so that whoever reads a run says what its own page
says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.control import parse
from holdfast.core.errors import RunError
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.evals.conversation.batches import ConversationRun
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.plan import Conversation
from holdfast.persona.suite import Persona
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict


@dataclass(frozen=True)
class RecordedRun:
    """A run that is read from its folder."""

    folder: Path
    run: ConversationRun
    """Its records and verdicts."""
    plans: Sequence[Conversation]
    """Its conversations, each under its control."""

    @property
    def rounds(self) -> int:
        """Rounds of the longest conversation."""
        return int(self.run.manifest["protocol"]["rounds"])

    @property
    def controls(self) -> list[str]:
        """The controls of the agents, in order."""
        return list(dict.fromkeys(str(plan.control) for plan in self.plans))


def read_run(folder: Path, commands: Sequence[str]) -> RecordedRun:
    """The run in a folder.

    Args:
        folder: The folder.
        commands: The commands whose runs are wanted, of drift and compare.

    Raises:
        RunError: The folder holds no such run, or one without records.
    """
    choices = " or ".join(commands)
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{folder} holds no run: name a folder of {choices}.") from error
    command = manifest.get("command") if isinstance(manifest, dict) else None
    if command not in commands:
        raise RunError(f"{folder} is a run of {command}: name a folder of {choices}.")
    run = Run(folder, manifest, RoundRecord, JudgeVerdict, read_only=True)
    if not run.records:
        raise RunError(f"{folder} has no records yet: run its command first.")
    try:
        return RecordedRun(folder, run, _conversations(manifest))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'manifest.json'} is not one that this version of Holdfast reads "
            f"({error}): repeat the run in a new folder."
        ) from error


def _conversations(manifest: Record) -> list[Conversation]:
    """The conversations as the command planned them."""
    personas = {id_: read_persona(record) for id_, record in manifest["personas"].items()}
    base = [
        Conversation(id_, personas[agent], personas[user], starter, seed, tuple(script) or None)
        for id_, agent, user, starter, seed, script in manifest["conversations"]
    ]
    texts = manifest.get("controls", [manifest["protocol"]["control"]])
    controls = [parse(text, models=True) for text in texts]
    return ControlledPlan(base, controls).variants_of_all()


def read_persona(record: Mapping[str, Any]) -> Persona:
    """The persona that a JSON object describes."""
    lists = {name: tuple(record[name]) for name in ("probes", "passes", "fails")}
    return Persona(**{**record, **lists})
