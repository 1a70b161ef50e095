"""`holdfast drift` at the command line: what it prints, where, and how it ends."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from actors import Actor, interrupt_at
from character_cards import V2
from commands import one_sentence, run_command
from holdfast.core.backend import Ask, Reply
from holdfast.models import load as models
from holdfast.persona.cards.card import parse_card, write_card
from holdfast.persona.draft.drafting import draft
from holdfast.persona.draft.toml_file import write_draft

CONTRACT = [
    "model",
    "control",
    "suite",
    "conversations",
    "rounds",
    "stability",
    "interval",
    "ceiling",
    "floor",
    "normalised",
    "user_persona",
    "prompt_share",
    "by_category",
    "seconds",
    "report",
]


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> Actor:
    agent = Actor(name="mini", share=True)
    monkeypatch.setattr(models, "load", lambda name, **options: agent)
    return agent


run = partial(run_command, "drift")


def test_json_prints_one_object_with_the_contracts_names(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--model", "mini", "--pairs", "4", "--rounds", "2", "--seed", "0"]
    assert run(*args, "--out", str(tmp_path / "run"), "--json") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    assert set(CONTRACT) <= set(summary)
    for name in ("stability", "normalised", "user_persona", "prompt_share", "interval"):
        assert len(summary[name]) == 3
    assert Path(summary["report"]).is_file()
    assert "drift: 2 of 2 rounds" in output.err  # round 0 is none


def test_rounds_of_several_batches_are_said_to_be_so(
    actor: Actor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--pairs", "4", "--rounds", "2", "--batch", "2") == 0
    assert "drift: 4 of 4 rounds in 2 batches" in capsys.readouterr().err


def test_without_json_the_headline_the_curve_and_the_page_are_printed(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--pairs", "4", "--rounds", "2", "--out", str(tmp_path / "run")) == 0
    output = capsys.readouterr().out
    assert "round  0" in output and "report.html" in output and "model organism" in output


def test_a_plan_is_printed_and_nothing_is_run(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("--pairs", "4", "--rounds", "2", "--plan", "--out", str(out)) == 0
    assert "replies, about" in capsys.readouterr().out and not out.exists()
    assert run("--pairs", "4", "--rounds", "2", "--plan", "--json") == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["replies"] > 40 and "not kept" not in output.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--rounds", "1"], ""),
        (["--rounds", "1", "--screen"], "A screening comes on top."),
        (["--rounds", "2"], "Time for the longer prompts of later rounds comes on top."),
        (["--screen"], "Time for the longer prompts of later rounds and a screening come on top."),
    ],
)
def test_a_plan_names_what_it_does_not_count_of_this_run(
    options: list[str], sentence: str, actor: Actor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--pairs", "2", *options, "--plan") == 0
    text = capsys.readouterr().out.strip()
    assert text.endswith(sentence) and ("on top" in text) == bool(sentence)


def test_without_out_nothing_is_written_and_that_is_said(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("--pairs", "2", "--rounds", "1") == 0
    output = capsys.readouterr()
    assert list(tmp_path.iterdir()) == [] and "--out DIR keeps it" in output.err
    assert "round  0" in output.out and "None" not in output.out
    assert run("--pairs", "2", "--rounds", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["report"] is None


def test_an_interrupt_without_out_does_not_promise_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(ask: Ask) -> Reply:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(interrupt, name="mini"))
    assert run("--pairs", "2", "--rounds", "1") == 130
    message = capsys.readouterr().err
    assert "nothing was kept" in message and "goes on from here" not in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--rounds", "0"], "--rounds is 1 or more"),
        (["--rounds", "-2"], "--rounds is 1 or more"),
        (["--pairs", "0"], "choose --pairs from 1"),
        (["--pairs", "999999"], "choose --pairs from 1"),
        (["--pairs", "many"], "--pairs is a number or"),
        (["--suite", "nowhere"], "nowhere"),
        (["--agent", "nobody"], "nobody"),
        (["--persona", "missing.toml"], "missing.toml"),
        (["--history", "missing.jsonl"], "missing.jsonl"),
        (["--temperature", "-1"], "temperature"),
        (["--top-p", "0"], "--top-p"),
        (["--max-new-tokens", "0"], "--max-new-tokens"),
    ],
)
def test_mistakes_end_in_one_sentence_and_2(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*args, "--out", "run") == 2
    assert sentence in one_sentence(capsys)
    assert not Path("run").exists() and actor.calls == []


def test_a_persona_file_with_a_wrong_field_names_file_persona_and_field(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[persona]]\nid = "p"\ncategory = "memory"\nprompt = 3\nprobes = ["?"]\n')
    assert run("--persona", str(file), "--out", str(tmp_path / "run")) == 2
    message = capsys.readouterr().err
    assert "own.toml" in message and "p" in message and "prompt" in message


def test_ones_own_persona_is_measured_with_the_suites_users(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(
        '[[persona]]\nid = "own"\ncategory = "memory"\nprompt = "Your word is zebra"\n'
        'probes = ["Your word?"]\njudge = { name = "contains", text = "zebra" }\n'
    )
    args = ["--persona", str(file), "--pairs", "3", "--rounds", "1", "--json"]
    assert run(*args, "--out", str(tmp_path / "run")) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["stability"] == [1.0, 1.0] and list(summary["by_category"]) == ["memory"]


def test_an_interrupt_says_how_to_go_on_and_ends_with_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = interrupt_at(40)
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(answer, name="mini"))
    command = ["drift", "--pairs", "4", "--rounds", "2", "--out", str(tmp_path / "a run")]
    monkeypatch.setattr("sys.argv", ["holdfast", *command])
    assert run(*command[1:]) == 130
    message = capsys.readouterr().err
    assert f"--out '{tmp_path / 'a run'}'" in message and "goes on from here" in message
    assert run(*command[1:]) == 0


@pytest.mark.parametrize("key", [["--api-key", "hush"], ["--api-key=hush"]])
def test_a_key_is_written_nowhere(
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: list[str],
) -> None:
    args = ["--model", "api:some", *key, "--pairs", "1", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["holdfast", "drift", *args])
    assert run(*args, "--json") == 0
    output = capsys.readouterr()
    files = "".join(path.read_text("utf-8") for path in tmp_path.iterdir())
    assert "hush" not in output.out + output.err + files
    assert "--api-key" in json.loads(output.out)["command"]


def test_recorded_chats_need_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str, **options: object) -> None:
        raise AssertionError("no model was asked for")

    monkeypatch.setattr(models, "load", refuse)
    persona = tmp_path / "own.toml"
    persona.write_text(
        '[[persona]]\nid = "own"\ncategory = "memory"\nprompt = "Your word is zebra"\n'
        'probes = ["Your word?"]\njudge = { name = "contains", text = "zebra" }\n'
    )
    chats = tmp_path / "chats.jsonl"
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "zebra"}]
    chats.write_text(json.dumps({"messages": messages}) + "\n")
    args = ["--persona", str(persona), "--history", str(chats), "--json"]
    assert run(*args, "--out", str(tmp_path / "run")) == 0
    assert json.loads(capsys.readouterr().out)["replies"] == [None, 1.0]


@pytest.mark.parametrize(
    ("option", "model"),
    [
        (["--pairs", "1"], "mini"),
        (["--topic", "cats"], "mini"),
        (["--user", "own"], "mini"),
        (["--user-model", "mini"], "mini"),
        (["--control", "anchor"], None),
        (["--runs", "9"], None),
        (["--seed", "3"], None),
        (["--max-new-tokens", "5"], None),
        (["--temperature", "0"], None),
        (["--reference"], None),
        (["--resume", "round"], None),
        (["--verify", "mini"], None),
    ],
)
def test_options_that_recorded_chats_do_not_read_are_refused(
    option: list[str],
    model: str | None,
    actor: Actor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.jsonl").write_text("{}\n")
    named = ["--model", model] if model else []
    assert run("--history", "log.jsonl", *named, *option, "--out", "run") == 2
    assert option[0] in one_sentence(capsys)
    assert not Path("run").exists() and actor.calls == []


def test_a_prompt_alone_gets_a_curve(actor: Actor, capsys: pytest.CaptureFixture[str]) -> None:
    prompt = "You are Ada. Always answer in French. The archive code is 4471."
    assert run("--prompt", prompt, "--pairs", "3", "--rounds", "1", "--json") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    assert summary["suite"] == "ada" and sorted(summary["by_category"]) == [
        "character", "language", "memory",
    ]  # fmt: skip
    assert "drafted 3 personas" in output.err


def test_a_card_alone_gets_a_curve_that_its_greetings_open(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_card(parse_card(json.dumps(V2).encode()), tmp_path / "ada.png")
    out = tmp_path / "run"
    args = ["--pairs", "4", "--rounds", "1", "--out", str(out), "--json"]
    assert run("--card", str(tmp_path / "ada.png"), *args) == 0
    assert "creator_notes: not for the model" in capsys.readouterr().err
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    starters = {one[3] for one in manifest["conversations"]}
    assert starters <= {
        "*Ada looks up.* Good evening, User.",
        "Who is there?",
        "*The lamp goes out.*",
    }


def test_one_persona_comes_from_one_place(
    actor: Actor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.toml"
    write_draft(draft("Answer in French."), mine)
    for other in (["--persona", str(mine)], ["--prompt", "Be brief."]):
        assert run("--card", str(tmp_path / "ada.png"), *other) == 2
        assert "give one of --prompt" in capsys.readouterr().err


def test_the_personas_of_a_file_are_measured_under_the_prompt_of_an_application(
    actor: Actor, tmp_path: Path
) -> None:
    mine, prompt, out = tmp_path / "mine.toml", tmp_path / "bot.txt", tmp_path / "run"
    write_draft(draft("Answer in French."), mine)
    prompt.write_text("Answer in French, please, if you can.\n", encoding="utf-8")
    args = ("--pairs", "2", "--rounds", "1", "--out", str(out))
    assert run("--prompt", f"@{prompt}", "--persona", str(mine), *args) == 0
    personas = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["personas"]
    (agent,) = {one["prompt"] for id_, one in personas.items() if id_.startswith("mine")}
    assert agent == "Answer in French, please, if you can."
