"""What every reply has to keep: one persona of a prompt's several, and what it leaves unjudged."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest

from commands import one_sentence, run_command
from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.evals.drift import estimate_drift
from holdfast.evals.watch.traffic import Traffic
from holdfast.models.load import load
from holdfast.persona.draft.drafting import draft
from holdfast.persona.draft.toml_file import write_draft
from holdfast.persona.every_reply import (
    SPEAKS,
    combine,
    load_persona,
    name_judged,
    name_unjudged,
    only_model_judges,
)
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


def write_log(path: Path, *chats: tuple[str, str]) -> Path:
    """A log of chats of one round, each a system prompt and a reply."""
    roles = ("system", "user", "assistant")
    lines = (
        {"messages": [
            {"role": role, "content": text}
            for role, text in zip(roles, (prompt, "Who is cheaper?", reply), strict=True)
        ]}
        for prompt, reply in chats
    )  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
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
    assert any(gap.startswith("Keep every") for gap in name_unjudged(load_suite(file)))
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
    assert "Bikes are delivered within 30 days (no rule reads it, nor a demand in it)" in of_log
    probed_only = {one for one in of_log if one.endswith("(only answers to its probes show it)")}
    assert "The phone number is 555 0123 (only answers to its probes show it)" in probed_only
    assert not any(one.startswith(("Keep every", "Use at most")) for one in of_log)
    assert probed_only == gaps("watch", log, "--persona", file)
    assert probed_only == gaps("drift", "--history", log, "--persona", file)


BLIND = "Never mention competitors."


@pytest.mark.parametrize(
    "prompt", ["You are Bruno.", "You are a librarian in Porto. Never mention competitors."]
)
def test_a_prompt_that_says_who_speaks_and_no_more_of_every_reply_is_judged_by_that(
    prompt: str,
) -> None:
    suite = draft(prompt).suite
    assert combine(suite).judge == SPEAKS
    assert name_judged(suite) == ("who speaks, the persona or somebody in its place",)
    assert not any(gap.startswith("You are Bruno") for gap in name_unjudged(suite))
    assert ("competitors" in prompt) == any(BLIND[:-1] in gap for gap in name_unjudged(suite))


@pytest.mark.parametrize(
    "prompt",
    [BLIND, f"You are a helpful assistant. {BLIND}", "You are a support bot for Acme.",
     "Be friendly."],
)  # fmt: skip
def test_a_prompt_that_says_not_even_who_speaks_is_judged_by_a_model_alone(prompt: str) -> None:
    drafted = draft(prompt)
    assert only_model_judges(drafted.whole)
    assert judge.rubrics(drafted.whole.judge) != [] and drafted.gaps(whole=True) == ()
    assert "nothing but a judge model" in name_judged(drafted.suite)[0]
    one = Traffic(drafted.whole).observe([("user", "Hello?")], "Go to Trek.")
    assert one is not None and one.record.score is None


def test_a_log_of_which_replies_show_nothing_has_no_score_but_a_sentence_on_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", (BLIND, "Go to Trek or Giant, they are cheaper."))
    bot = tmp_path / "blind.toml"
    write_draft(draft(BLIND), bot)
    for command in (["watch", log], ["drift", "--history", log]):
        for source in ([], ["--prompt", BLIND], ["--persona", bot]):
            assert run_command(*command, *source) == 2
            output = capsys.readouterr()
            assert output.out == ""
            assert "there is no score: no rule judges from replies alone" in output.err
            assert "--model NAME" in output.err and "--judge-model NAME" in output.err
    assert run_command("drift", "--history", log, "--judge-model", "mini") == 0
    assert f"judged by: {BLIND[:-1]} (by nothing but a judge model" in capsys.readouterr().out


def test_beside_prompts_that_rules_judge_one_that_they_cannot_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("Keep every answer under 60 words.", "Hello.")
    log = write_log(tmp_path / "log.jsonl", (BLIND, "Go to Trek."), kept)
    for command in (["watch", log], ["drift", "--history", log]):
        assert run_command(*command) == 0
        out = capsys.readouterr().out
        assert "1 line does not fit (line 1: nothing in its system prompt can be judged" in out
        assert "judged by: Keep every answer under 60 words\n" in out
        assert f"not judged: {BLIND[:-1]} (no rule sees in a reply what it asks for)" in out


def test_a_judge_model_reads_the_prompts_that_rules_cannot_beside_those_that_they_can(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ("Keep every answer under 60 words.", "Hello.")
    # Of the second prompt nothing is drafted but for a judge model.
    prompts = (BLIND, "Always mind the budget.")
    log = write_log(tmp_path / "log.jsonl", *((one, "Go to Trek.") for one in prompts), kept)
    assert run_command("drift", "--history", log, "--judge-model", "mini", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    reading = summary["history"]
    assert summary["conversations"] == 3 and reading["unfit"] == 0 and not reading["unjudged"]
    by_model = [
        f"{one[:-1]} (by nothing but a judge model: no rule sees it in a reply)" for one in prompts
    ]
    assert reading["judged"] == [*by_model, kept[0][:-1]]
    assert summary["verdicts"]["judge"] == "mini"


def test_an_estimate_counts_the_chats_that_only_a_judge_model_judges(tmp_path: Path) -> None:
    kept = ("Keep every answer under 60 words.", "Hello.")
    log = write_log(tmp_path / "log.jsonl", (BLIND, "Go to Trek."), kept)
    mini = load("mini")
    alone = estimate_drift(mini, history=log)
    assert estimate_drift(mini, history=log, rubrics=True).replies == 2 * alone.replies


def test_the_terminal_and_the_page_say_what_replies_are_judged_by(
    file: Path, log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    basis = "; ".join(name_judged(draft(PROMPT).suite))
    assert "Keep every answer under 60 words; Use at most three sentences" in basis
    for number, source in enumerate(([], ["--persona", file], ["--prompt", PROMPT])):
        out = tmp_path / f"run{number}"
        assert run_command("drift", "--history", log, "--out", out, *source) == 0
        output = capsys.readouterr()
        assert f"judged by: {basis}" in output.out and "judged" not in output.err
        page = unescape((out / "report.html").read_text(encoding="utf-8"))
        assert f"Replies are judged by: {basis}" in page
        gaps = json.loads((out / "summary.json").read_text(encoding="utf-8"))["history"]["unjudged"]
        assert ("Bikes are delivered" in "; ".join(gaps)) == (source != ["--persona", file])
    assert run_command("watch", log, "--persona", file) == 0
    assert f"judged by: {basis}" in capsys.readouterr().err
