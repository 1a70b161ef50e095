"""`holdfast personas`: lists and checks on standard output, mistakes in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from character_cards import V2
from holdfast.cli.personas import app
from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.persona.cards.card import parse_card, write_card

ROOT = Path(__file__).parents[2]
GOOD = """
starters = ["Hi!"]
[[persona]]
id = "captain"
category = "pattern"
prompt = "Speak in [bold]capitals[/bold]."
probes = ["Who are you?"]
judge = { name = "case", to = "upper" }
passes = ["AYE!"]
fails = ["Aye.\\nNo?"]
[[persona]]
id = "owl"
category = "memory"
prompt = "Your word is moss."
probes = ["Your word?"]
judge = { name = "contains", text = "moss" }
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_list_shows_every_persona_as_written(mine: Path) -> None:
    result = run("list", "--suite", mine)
    assert result.exit_code == 0
    assert "captain" in result.stdout and "[bold]capitals[/bold]" in result.stdout
    assert "2 personas: pattern 1, memory 1" in result.stdout


def test_list_filters_by_category_and_prints_json(mine: Path) -> None:
    result = run("list", "--suite", mine, "--category", "memory", "--json")
    (owl,) = json.loads(result.stdout)
    assert owl == {
        "id": "owl",
        "category": "memory",
        "prompt": "Your word is moss.",
        "probes": ["Your word?"],
        "judge": {"name": "contains", "text": "moss"},
        "passes": [],
        "fails": [],
    }


def test_an_unknown_category_says_which_there_are(mine: Path) -> None:
    result = run("list", "--suite", mine, "--category", "memori")
    assert isinstance(result.exception, PersonaError)
    assert "did you mean memory?" in str(result.exception)


def test_show_prints_prompt_probes_judge_and_examples(mine: Path) -> None:
    result = run("show", "captain", "--suite", mine)
    for piece in ("Speak in [bold]", "Who are you?", '"to": "upper"', "AYE!", "  - Aye.\n    No?"):
        assert piece in result.stdout
    assert json.loads(run("show", "owl", "--suite", mine, "--json").stdout)["id"] == "owl"
    assert run("show", f"{mine}:owl").stdout == run("show", "owl", "--suite", mine).stdout


def test_show_suggests_the_id_that_was_meant(mine: Path) -> None:
    result = run("show", "captan", "--suite", mine)
    assert isinstance(result.exception, HoldfastError)
    assert "did you mean captain?" in str(result.exception)


def test_check_says_how_many_examples_are_right(mine: Path) -> None:
    result = run("check", mine)
    assert result.exit_code == 0
    assert "2 examples of 2 personas are scored as they should be" in result.stdout
    assert "Without passes or fails to check: owl." in result.stdout


def test_check_lists_what_is_wrong_and_exits_with_2(mine: Path) -> None:
    mine.write_text(GOOD.replace('passes = ["AYE!"]', 'passes = ["AYE!", "aye\\nme"]'))
    result = run("check", mine)
    assert result.exit_code == 2
    assert 'captain: scores 0.00 but should pass: "aye me" (0% of letters' in result.stdout
    assert "1 of 3 examples" in result.stdout


def test_check_says_what_only_a_model_can_judge(mine: Path) -> None:
    mine.write_text(GOOD.replace('{ name = "contains", text = "moss" }',
                                 '{ name = "rubric", criteria = "It is mossy." }'))  # fmt: skip
    result = run("check", mine)
    assert result.exit_code == 0
    assert "Judged by a model, so not checked here: owl." in result.stdout


def test_check_of_a_broken_file_is_a_persona_error(mine: Path) -> None:
    mine.write_text("[[persona]\n")
    assert isinstance(run("check", mine).exception, PersonaError)


def test_check_prints_the_shares_of_wrong_scores_among_labelled_replies(
    mine: Path, tmp_path: Path
) -> None:
    cases = tmp_path / "cases.jsonl"
    replies = [
        ("captain", "legitimate", "pass", "AYE AYE"),
        ("captain", "legitimate", "pass", "aye"),
        ("captain", "drifted", "fail", "aye"),
        ("owl", "drifted", "fail", "moss is not my word"),
        ("owl", "stuffed with keywords", "fail", "moss moss"),
    ]
    keys = ("persona", "kind", "expected", "text")
    lines = [json.dumps(dict(zip(keys, reply, strict=True))) for reply in replies]
    cases.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = run("check", mine, "--cases", cases, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "pattern": {
            "n": 3,
            "false_fail": 0.5,
            "false_pass": 0.0,
            "stuffed_pass": None,
            "passes": 2,
            "fails": 1,
            "stuffed": 0,
        },
        "memory": {
            "n": 2,
            "false_fail": None,
            "false_pass": 1.0,
            "stuffed_pass": 1.0,
            "passes": 0,
            "fails": 1,
            "stuffed": 1,
        },
    }
    table = run("check", mine, "--cases", cases).stdout
    assert 'captain: scores 0.00 but should pass: "aye"' in table
    assert "stuffed pass" in table and "50% of 2" in table and "100% of 1" in table


@pytest.mark.parametrize("name", ["replies-470", "replies-500"])
def test_the_page_of_judges_has_what_check_prints_of_the_labelled_replies(name: str) -> None:
    command = f"holdfast personas check core --cases studies/judges/{name}.jsonl"
    printed = run("check", "core", "--cases", ROOT / f"studies/judges/{name}.jsonl").stdout
    table = printed[printed.index("category ") :]
    page = (ROOT / "docs/reference/judges.md").read_text("utf-8")
    assert f"{command}\n```\n\n```text\n{table}```" in page


def test_check_prints_json_for_the_suites_own_examples(mine: Path) -> None:
    result = run("check", mine, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "pattern": {
            "n": 2,
            "false_fail": 0.0,
            "false_pass": 0.0,
            "stuffed_pass": None,
            "passes": 1,
            "fails": 1,
            "stuffed": 0,
        }
    }
    mine.write_text(GOOD.replace('passes = ["AYE!"]', 'passes = ["aye"]'))
    wrong = run("check", mine, "--json")
    assert wrong.exit_code == 2
    assert json.loads(wrong.stdout)["pattern"]["false_fail"] == 1.0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 1: this is not JSON"),
        ("[1]", "line 1: this is JSON, but no object"),
        ('{"persona": "owl", "expected": "pass"}', "line 1: “text” is missing"),
        ('{"persona": "owl", "expected": "yes", "text": "a"}', "must be “pass” or “fail”"),
        ('{"persona": "owl", "expected": "pass", "text": "a", "kind": 1}', "“kind” must be"),
        ('{"persona": "olw", "expected": "pass", "text": "a"}', "did you mean owl?"),
        ("\n\n", "holds no labelled replies"),
    ],
)
def test_a_wrong_file_of_labelled_replies_is_one_sentence(
    mine: Path, tmp_path: Path, line: str, says: str
) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(line, encoding="utf-8")
    result = run("check", mine, "--cases", cases)
    assert isinstance(result.exception, PersonaError)
    assert says in str(result.exception) and "\n" not in str(result.exception)


def test_a_file_of_labelled_replies_that_is_not_there_is_one_sentence(mine: Path) -> None:
    result = run("check", mine, "--cases", mine.parent / "none.jsonl")
    assert isinstance(result.exception, PersonaError)
    assert "there are no labelled replies in" in str(result.exception)


def test_the_built_in_suite_is_listed_without_options() -> None:
    result = run("list", "--json")
    assert result.exit_code == 0 and len(json.loads(result.stdout)) > 10


def test_a_draft_needs_neither_model_nor_network_and_checks_itself(tmp_path: Path) -> None:
    out = tmp_path / "ada.toml"
    prompt = (
        "You are Ada, a librarian in Porto. You always answer in Portuguese, never give medical "
        "advice, and know that the archive code is 4471."
    )
    result = run("draft", prompt, "--out", out, "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert sorted(summary) == ["check", "judges", "probes", "unjudged"]
    assert {"language", "refusal", "code"} <= set(summary["judges"]["deterministic"])
    assert summary["check"] == "ok" and summary["judges"]["rubric"] == []
    assert run("check", out).exit_code == 0
    assert "code" in run("draft", prompt).stdout


def test_a_prompt_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "bot.txt"
    path.write_text("Always answer in French.", encoding="utf-8")
    assert "language" in run("draft", f"@{path}").stdout
    missing = run("draft", f"@{tmp_path / 'none.txt'}")
    assert isinstance(missing.exception, PersonaError)


def test_a_check_says_where_a_drafted_prompt_was_changed(tmp_path: Path) -> None:
    out = tmp_path / "bot.toml"
    run("draft", "Always answer in French.", "--out", out)
    text = out.read_text(encoding="utf-8").replace('in French."\nprobes', 'in French!"\nprobes')
    out.write_text(text, encoding="utf-8")
    assert (
        "Drafted from another prompt than they have now: mine-language" in run("check", out).stdout
    )


def a_card(folder: Path) -> Path:
    path = folder / "ada.png"
    write_card(parse_card(json.dumps(V2).encode()), path)
    return path


def test_a_card_is_imported_and_written_back_without_loss(tmp_path: Path) -> None:
    out, again = tmp_path / "ada.toml", tmp_path / "again.json"
    summary = json.loads(run("import", a_card(tmp_path), "--out", out, "--json").stdout)
    assert summary["name"] == "Ada" and len(summary["starters"]) == 3
    assert any(one.startswith("creator_notes") for one in summary["ignored"])
    assert run("check", out).exit_code == 0
    assert run("export", out, "--out", again).exit_code == 0
    assert json.loads(again.read_text(encoding="utf-8")) == V2


def test_a_chat_is_imported_as_a_history(tmp_path: Path) -> None:
    chat, out = tmp_path / "chat.jsonl", tmp_path / "history.jsonl"
    lines = [
        {"user_name": "Sam", "character_name": "Ada"},
        {"name": "Sam", "is_user": True, "mes": "Hello?"},
        {"name": "Ada", "is_user": False, "mes": "Ahoy."},
    ]
    chat.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert "2 messages of Ada and Sam" in run("import", chat, "--out", out).stdout
    (line,) = out.read_text(encoding="utf-8").splitlines()
    assert [m["role"] for m in json.loads(line)["messages"]] == ["user", "assistant"]
    for option in (("--lorebook", chat), ("--user-name", "Bo"), ("--author-model", "mini")):
        refusal = run("import", chat, "--out", tmp_path / "other.jsonl", *option).exception
        assert isinstance(refusal, PersonaError) and f"{option[0]} is for a card" in str(refusal)
    nowhere = run("import", chat, "--out", tmp_path / "none" / "history.jsonl").exception
    assert isinstance(nowhere, PersonaError) and "cannot be written" in str(nowhere)


def test_a_file_that_was_never_a_card_cannot_become_one(mine: Path, tmp_path: Path) -> None:
    assert isinstance(run("export", mine, "--out", tmp_path / "x.json").exception, PersonaError)


def test_consistency_says_which_checks_could_not_be_made_and_why(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    log.write_text((json.dumps({"messages": turns}) + "\n") * 4, encoding="utf-8")
    output = run("consistency", log, "--user-prompt", "You are an angry miller from Tarn.").stdout
    assert output.startswith("Your evaluation was valid in 4 of 4 runs by 1 of 3 checks (95% ")
    assert "never shows its persona: not looked for (from three lines of the user on" in output
    assert "difficult user was softened: not looked for (from two lines on" in output
