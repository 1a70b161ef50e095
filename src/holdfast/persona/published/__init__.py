"""Published tests of the field as suites of personas: `--suite NAME:FILE`.

    ifeval, ifbench   the verifiable instructions, each as a system prompt of its own; with a FILE
                      (JSONL of the authors) those of its lines
    multi-if          Multi-IF's CSV or JSONL: the instructions of a dialogue's last turn
    sysbench          SysBench's JSON: system messages, with the checklist of each turn
    multichallenge    MultiChallenge's JSONL: instructions to retain, with the question about them
    personagym        PersonaGym's folder of JSON files, a person each
    mt-bench          MT-Bench's question.jsonl: the first turn is the prompt, the second probes it

The authors' files are read as they publish them; none is shipped. What a published test asks once
is asked here after every round of a conversation, so that its score has a course. Rows that cannot
be such a persona are left out, and counted on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.errors import PersonaError
from holdfast.core.settings import expand_home
from holdfast.persona.files import is_there
from holdfast.persona.published import instructions, rubrics
from holdfast.persona.published.tables import PersonaTables

READERS: dict[str, Callable[[Path], PersonaTables]] = {
    "ifeval": instructions.read_instructions,
    "ifbench": instructions.read_instructions,
    "multi-if": instructions.read_multi_if,
    "sysbench": rubrics.read_sysbench,
    "multichallenge": rubrics.read_multichallenge,
    "personagym": rubrics.read_personagym,
    "mt-bench": rubrics.read_mt_bench,
}


@dataclass(frozen=True)
class PublishedSuite:
    """A published test, and the authors' file of it."""

    name: str
    """A name of `READERS`."""
    path: Path | None
    """The file; None for what needs none."""

    @classmethod
    def of(cls, text: str) -> PublishedSuite | None:
        """From NAME or NAME:FILE; None for what names no published test, and for NAME:ID."""
        name, colon, rest = text.partition(":")
        if name not in READERS:
            return None
        path = expand_home(rest) if colon else None
        is_file = path is None or is_there(path) or path.suffix in (".json", ".jsonl", ".csv")
        return cls(name, path) if is_file else None

    def tables(self) -> list[dict[str, object]]:
        """Its personas as tables of a persona file; raises `PersonaError` where there are none."""
        if self.path is not None:
            tables = READERS[self.name](self.path)
        elif self.name in instructions.STANDING:
            tables = instructions.standing_orders(self.name)
        else:
            raise PersonaError(
                f"{self.name} is read from its authors' file: give `suite` {self.name}:FILE"
            )
        if tables.skipped:
            print(f"{self.name}: left out {tables.left_out()}", file=sys.stderr)
        if not tables.personas:
            raise PersonaError(f"{self.path} holds nothing of {self.name} that can be a persona")
        return list(tables.personas.values())
