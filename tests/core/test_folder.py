"""A folder has one writer, and its files are whole or as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import RunError
from holdfast.core.folder import lock, write_whole


def test_a_folder_that_is_made_anew_has_a_lock_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    first = lock(place)
    assert lock(place) is first
    place.rename(tmp_path / "old")
    place.mkdir()
    assert lock(place) is not first


def test_a_folder_that_cannot_be_made_is_refused_by_its_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be written"):
        lock(tmp_path / "file" / "run")


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trial.json"
    write_whole(path, "before")

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(PermissionError):
        write_whole(path, "after")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("trial.json", "before")]
