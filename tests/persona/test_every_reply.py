"""What every reply has to keep: one persona of a prompt's several, and what it leaves unjudged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from commands import one_sentence, run_command
from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.persona.draft.drafting import draft
from holdfast.persona.draft.toml_file import write_draft
from holdfast.persona.every_reply import load_persona, name_probed_only
from holdfast.persona.suite import load_suite

PROMPT = """You are Mira, a support assistant. Your tone is warm and brief.
Keep every answer under 60 words. Use at most three sentences. Never use exclamation marks.
End every answer with "Ride safely". The phone number is 555 0123.
If a customer is angry, apologise once. Bikes are delivered within 30 days."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The drafted personas of the prompt."""
    path = tmp_path / "bot.toml"
    write_draft(draft(PROMPT), path)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A conversation under the prompt."""
    turns = [("system", PROMPT), ("user", "Hello?"), ("assistant", "Hello. Ride safely")]
    messages = [{"role": role, "content": text} for role, text in turns]
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    return path


def test_a_second_and_a_third_limit_are_kept_by_every_reply_as_the_first_is() -> None:
    every_reply = draft(PROMPT).suite.every_reply or ()
    assert {"mira-length", "mira-length-2", "mira-length-3"} <= set(every_reply)
    assert {"mira-ending", "mira-no-exclamation"} <= set(every_reply)
    two = draft('End with "Bye, friend". End with "Ride safely".').suite
    assert two.every_reply == ("mine-ending", "mine-ending-2")


def test_a_fact_that_is_called_as_a_form_is_none() -> None:
    suite = draft("You are Mira. The opening is 14 metres. Answer in French.").suite
    assert {"mira-opening", "mira-language"} <= {one.id for one in suite.personas}
    assert suite.every_reply == ("mira-language",)


def test_a_drafted_file_is_used_whole_as_its_prompt_is(file: Path) -> None:
    whole = load_persona(str(file))
    of_prompt = draft(PROMPT).whole
    assert (whole.judge, whole.prompt) == (of_prompt.judge, of_prompt.prompt)
    assert judge.build(whole.judge)("Hello. Ride safely").value == 1


def test_an_edited_list_decides_what_every_reply_keeps(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    start = text.index("every_reply = ")
    rest = text[text.index("]", start) + 1 :]
    file.write_text(f'{text[:start]}every_reply = ["mira-ending"]{rest}', encoding="utf-8")
    assert load_persona(str(file)).judge["of"] == [{"name": "ends_with", "text": "Ride safely"}]
    assert any(gap.startswith("Keep every") for gap in name_probed_only(load_suite(file)))
    assert load_persona(f"{file}:mira-length").id == "mira-length"


def test_a_list_names_personas_of_the_file_and_of_one_prompt(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"mira-ending"', '"mira-endin"', 1), encoding="utf-8")
    with pytest.raises(PersonaError, match=r"every_reply” names “mira-endin”.*mean mira-ending"):
        load_suite(file)
    file.write_text(text.replace("once. Bikes", "twice. Bikes", 1), encoding="utf-8")
    with pytest.raises(PersonaError, match="several prompts"):
        load_persona(str(file))


def test_several_personas_without_a_list_are_refused_with_what_to_write(
    file: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = file.read_text(encoding="utf-8")
    start = text.index("every_reply = ")
    file.write_text(text[:start] + text[text.index("]", start) + 1 :], encoding="utf-8")
    for command in (["watch", log], ["serve", "--port", "0"]):
        assert run_command(*command, "--persona", file) == 2
        assert "list at the top of the file" in one_sentence(capsys)


def test_watch_and_drift_name_the_same_gaps_of_a_prompt_wherever_it_comes_from(
    file: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def gaps(*args: object) -> set[str]:
        assert run_command(*args) == 0
        output = capsys.readouterr()
        lines = f"{output.out}\n{output.err}".splitlines()
        (line,) = {one for one in lines if one.startswith("not judged: ")}
        return set(line.removeprefix("not judged: ").split("; "))

    of_log = gaps("watch", log)
    assert of_log == gaps("watch", log, "--prompt", PROMPT)
    assert of_log == gaps("drift", "--history", log, "--prompt", PROMPT)
    assert "Bikes are delivered within 30 days. (no rule reads it, nor a demand in it)" in of_log
    probed_only = {one for one in of_log if one.endswith("(only answers to its probes show it)")}
    assert "The phone number is 555 0123. (only answers to its probes show it)" in probed_only
    assert not any(one.startswith(("Keep every", "Use at most")) for one in of_log)
    assert probed_only == gaps("watch", log, "--persona", file)
    assert probed_only == gaps("drift", "--history", log, "--persona", file)
