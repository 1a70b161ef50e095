"""A run folder survives kills, refuses strangers, and never loses what it holds."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import RunError
from holdfast.core.records import dumps
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of

MANIFEST = {"command": "test", "settings": {"rounds": 2, "ids": [1, 2]}}


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", MANIFEST)
    run.append([{"n": 1, "text": "ünïcode\n"}, {"n": 2, "score": 0.5}])
    assert Run(tmp_path / "run", MANIFEST).records == run.records
    assert [record["n"] for record in run.records] == [1, 2]


def test_a_torn_last_line_is_dropped_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Run(tmp_path, MANIFEST).append([{"n": 1}, {"n": 2}])
    file = tmp_path / "records.jsonl"
    whole = file.read_bytes()
    for cut in range(len(whole) // 2 + 1, len(whole)):
        file.write_bytes(whole[:cut])
        assert Run(tmp_path, MANIFEST).records == [{"n": 1}]
        assert "torn last line" in capsys.readouterr().err
        assert file.read_bytes() == whole[: len(whole) // 2]


def test_a_single_torn_line_leaves_an_empty_run(tmp_path: Path) -> None:
    Run(tmp_path, MANIFEST)
    (tmp_path / "records.jsonl").write_bytes(b'{"n": ')
    assert Run(tmp_path, MANIFEST).records == []
    assert (tmp_path / "records.jsonl").read_bytes() == b""


def test_a_run_whose_first_request_failed_may_be_begun_with_another_name(tmp_path: Path) -> None:
    Run(tmp_path, {**MANIFEST, "model": "mistral-lrage"})
    named = {**MANIFEST, "model": "mistral-large"}
    assert json.loads((tmp_path / "manifest.json").read_text()) != named
    Run(tmp_path, named)
    assert json.loads((tmp_path / "manifest.json").read_text()) == named
    with pytest.raises(RunError, match="command was"):
        Run(tmp_path, {**named, "command": "another"})


def test_a_folder_of_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    Run(tmp_path, MANIFEST).append([{"n": 1}])
    other = {**MANIFEST, "settings": {"rounds": 3, "ids": [1, 2]}}
    with pytest.raises(RunError, match=r"settings.rounds was 2, is 3"):
        Run(tmp_path, other)


@pytest.mark.parametrize("weights", ["5e1f", None])
def test_a_run_goes_on_when_the_folder_of_its_model_was_moved(
    weights: str | None, tmp_path: Path
) -> None:
    Run(tmp_path, {"model": {"name": "models/one", "weights": weights}}).append([{"n": 1}])
    now = {"model": {"name": "/mnt/one", "weights": weights}}
    if weights is not None:
        assert Run(tmp_path, now).records == [{"n": 1}]
    else:  # nothing says that it is the same model
        with pytest.raises(RunError, match=r"model\.name was"):
            Run(tmp_path, now)
    with pytest.raises(RunError, match=r"model\.weights was"):
        Run(tmp_path, {"model": {"name": "models/one", "weights": "0ff0"}})


def test_the_difference_is_short_however_long_the_values_are(tmp_path: Path) -> None:
    Run(tmp_path, {**MANIFEST, "long": ["a" * 500] * 50}).append([{"n": 1}])
    with pytest.raises(RunError) as error:
        Run(tmp_path, {**MANIFEST, "long": ["b" * 500] * 50, "settings": None, "more": "c" * 500})
    assert len(str(error.value)) < 400 and "and " in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ([[0, "a"]] * 4, [[0, "a"]] * 5, "the number of long was 4, is 5;"),
        ([[0, "cats"]] * 4, [[0, "dogs"]] * 4, 'long.0.1 was "cats", is "dogs";'),
        ([["a" * 90 + "old"]], [["a" * 90 + "new"]], 'aaaold", is …aaaaaaaaaaaaaaaaaaaanew";'),
        ({"x": "y" * 90}, {"x": "y" * 90 + "!"}, 'yyy", is …yyyyyyyyyyyyyyyyyyyy!";'),
    ],
)
def test_the_difference_of_lists_and_long_texts_is_where_they_differ(
    old: object, new: object, sentence: str, tmp_path: Path
) -> None:
    Run(tmp_path, {**MANIFEST, "long": old}).append([{"n": 1}])
    with pytest.raises(RunError) as error:
        Run(tmp_path, {**MANIFEST, "long": new})
    assert sentence in str(error.value) and "differ too" not in str(error.value)


def test_what_is_set_is_named_before_what_is_drawn_by_it(tmp_path: Path) -> None:
    protocol = {"sampling": {"temperature": 1.0}, "batch": 4}
    drawn = {"conversations": [[0, "a"], [1, "b"]], "personas": {"a": {"id": "a"}}}
    Run(tmp_path, {"protocol": protocol, **drawn, "controls": ["none"]})
    fewer = {"conversations": [[0, "c"]], "personas": {"c": {"id": "c"}}}
    with pytest.raises(RunError, match=r"run: the number of conversations \(`pairs` or `h.*1; ch"):
        Run(tmp_path, {"protocol": protocol, **fewer, "controls": ["none"]})
    warmer = {"sampling": {"temperature": 1.5}, "batch": 4}
    with pytest.raises(RunError, match=r"run: temperature was 1\.0, is 1\.5; choose"):
        Run(
            tmp_path,
            {"protocol": warmer, "conversations": [[0, "c"], [1, "b"]], "personas": {}}
            | {"controls": ["none"]},
        )
    more = {"protocol": {**protocol, "batch": 8}, **drawn, "controls": ["none", "anchor"]}
    with pytest.raises(RunError, match=r"the number of controls was 1, is 2, and batch differs to"):
        Run(tmp_path, more)


def test_a_run_of_another_command_is_told_by_the_command_alone(tmp_path: Path) -> None:
    Run(tmp_path, {"command": "compare", "filler": True, "seed": 0}).append([{"n": 1}])
    with pytest.raises(RunError, match='command was "compare", is "drift"; choose another'):
        Run(tmp_path, {"command": "drift", "filler": False, "seed": 1})


def test_a_run_without_a_model_and_one_with_it_are_told_apart_by_its_name(tmp_path: Path) -> None:
    model = {"name": "mini", "backend": "local", "weights": "5e1f"}
    Run(tmp_path, {"model": None}).append([{"n": 1}])
    with pytest.raises(RunError, match="another run: model was none, is mini; choose another"):
        Run(tmp_path, {"model": model})
    Run(tmp_path / "other", {"model": model}).append([{"n": 1}])
    with pytest.raises(RunError, match="another run: model was mini, is none; choose another"):
        Run(tmp_path / "other", {"model": None})


def test_a_run_of_an_api_at_another_address_says_how_it_goes_on(tmp_path: Path) -> None:
    manifest = {"model": {"model": "m", "base_url": "http://localhost:1/v1"}, "seed": 0}
    Run(tmp_path, manifest).append([{"n": 1}])
    moved = {"model": {"model": "m", "base_url": "http://localhost:2/v1"}, "seed": 0}
    with pytest.raises(RunError, match="same model answers at both addresses, write the new one"):
        Run(tmp_path, moved)
    with pytest.raises(RunError, match=r"choose another `out`$"):
        Run(tmp_path, {**moved, "seed": 1})
    (tmp_path / "manifest.json").write_text(dumps(moved), encoding="utf-8")
    assert Run(tmp_path, moved).records == [{"n": 1}]


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="holds no run"):
        Run(tmp_path, MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["{", "[1, 2]", "3", "null"])
def test_a_manifest_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunError, match="not a manifest"):
        Run(tmp_path, MANIFEST)


def test_a_line_that_is_not_json_is_refused_not_skipped(tmp_path: Path) -> None:
    Run(tmp_path, MANIFEST)
    (tmp_path / "records.jsonl").write_text('{"n": 1}\nnonsense\n')
    with pytest.raises(RunError, match="not JSON"):
        Run(tmp_path, MANIFEST)
    (tmp_path / "records.jsonl").write_text('{"n": 1}\n5\n')
    with pytest.raises(RunError, match="line 2 does not fit: it is no JSON object"):
        Run(tmp_path, MANIFEST)


def test_a_path_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file: `out` names a folder"):
        Run(tmp_path / "file", MANIFEST)


def test_a_full_disk_keeps_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, MANIFEST)
    run.append([{"n": 1}])
    original = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if "a" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, mode, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(RunError, match="the disk is full"):
            run.append([{"n": 2}])
    assert Run(tmp_path, MANIFEST).records == [{"n": 1}]


def test_a_full_disk_at_the_first_write_leaves_a_folder_for_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, **more: Any) -> int:
        path.write_bytes(text[:9].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(RunError, match="run the same command again"):
            Run(tmp_path, MANIFEST)
    assert not list(tmp_path.iterdir())
    Run(tmp_path, MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_run_that_was_killed_at_its_first_write_begins_again(tmp_path: Path) -> None:
    for name in ("manifest.json.part", "judge.json.part"):
        (tmp_path / name).write_text('{"comm')
    assert Run(tmp_path, MANIFEST).records == []
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", "judge.json.part"}


def test_keep_forgets_the_rest_on_disk_too(tmp_path: Path) -> None:
    run = Run(tmp_path, MANIFEST)
    run.append([{"n": 1}, {"n": 2}, {"n": 3}])
    run.keep(run.records[:1])
    assert Run(tmp_path, MANIFEST).records == [{"n": 1}]


def test_verdicts_are_kept_apart_from_records(tmp_path: Path) -> None:
    run = Run(tmp_path, MANIFEST)
    run.verdict_file.append([{"value": 1.0}])
    again = Run(tmp_path, MANIFEST)
    assert (again.records, again.verdicts) == ([], [{"value": 1.0}])


def test_a_finished_run_that_is_read_again_keeps_what_its_work_took(tmp_path: Path) -> None:
    run = Run(tmp_path, MANIFEST)
    run.append([{"n": 1}])
    run.finish(run.of_work(seconds=60.0, cost=2))
    again = Run(tmp_path, MANIFEST)
    assert again.of_work(seconds=0.1, new=5) == {"seconds": 60.0, "new": 5}
    again.append([{"n": 2}])
    assert again.of_work(seconds=0.1) == {"seconds": 0.1}
    (tmp_path / "summary.json").write_text("{")
    assert Run(tmp_path, MANIFEST).of_work(seconds=0.1) == {"seconds": 0.1}
    assert Run(None, MANIFEST).of_work(seconds=0.1) == {"seconds": 0.1}


def refuse_to_write(path: Path, text: str, **more: Any) -> int:
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_finished_run_on_a_read_only_disk_is_read_and_says_what_was_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path, MANIFEST)
    run.append([{"n": 1}])
    run.finish({"mean": 1}, lambda path: path.write_text("page", encoding="utf-8") and None)
    monkeypatch.setattr(Path, "write_text", refuse_to_write)
    again = Run(tmp_path, MANIFEST)
    again.finish({"mean": 1})
    assert again.records == [{"n": 1}]
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "page and summary could not be written there (Read-on" in line
    again.append([{"n": 2}])
    with pytest.raises(RunError, match="choose another `out`"):
        again.finish({"mean": 2})


def test_without_a_folder_everything_stays_in_memory(tmp_path: Path) -> None:
    run = Run(None, MANIFEST)
    run.append([{"n": 1}])
    run.finish({"done": True})
    assert run.records == [{"n": 1}] and not list(tmp_path.iterdir())


@given(st.text())
def test_any_text_is_written_as_valid_utf8_on_one_line(text: str) -> None:
    line = dumps({"text": text + "\ud800"})
    assert "\n" not in line
    assert json.loads(line.encode("utf-8"))["text"] == text + "\ud800"


def test_numbers_that_json_lacks_become_null() -> None:
    assert dumps([float("nan"), float("inf"), 1.5]) == "[null, null, 1.5]"


def test_seeds_differ_by_every_part_and_stay_the_same_for_ever() -> None:
    assert seed_of(0, "plan") == 3897805607007773204
    seeds = {seed_of(a, b, c) for a in range(5) for b in ("x", "y") for c in range(5)}
    assert len(seeds) == 50 and all(0 <= seed < 2**63 for seed in seeds)


def test_a_folder_that_another_process_writes_to_is_refused_and_can_be_read(tmp_path: Path) -> None:
    script = f"""
from holdfast.core.run import Run
run = Run({str(tmp_path)!r}, {MANIFEST!r})
run.append([{{"n": 1}}])
print("written", flush=True)
input()
"""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as other:
        assert other.stdin and other.stdout
        assert other.stdout.readline() == "written\n"
        with pytest.raises(RunError, match="another process writes to"):
            Run(tmp_path, MANIFEST)
        with (tmp_path / "records.jsonl").open("ab") as file:
            file.write(b'{"n": 2')  # a line on its way
        assert Run(tmp_path, MANIFEST, read_only=True).records == [{"n": 1}]
        assert (tmp_path / "records.jsonl").read_bytes().endswith(b'{"n": 2')
        other.kill()
    run = Run(tmp_path, MANIFEST)
    assert run.records == Run(tmp_path, MANIFEST).records == [{"n": 1}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_keeps_no_folder_and_frees_none(tmp_path: Path) -> None:
    run = Run(tmp_path, MANIFEST)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.close(writer)
        os.read(reader, 1)  # until the parent is done
        os._exit(0)
    try:
        del run
        assert Run(tmp_path, MANIFEST).records == []
    finally:
        os.close(writer)
        os.waitpid(child, 0)
        os.close(reader)
