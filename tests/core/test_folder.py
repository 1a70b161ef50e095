"""A folder has one writer, and its files are whole or as they were."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from holdfast.core.errors import RunError
from holdfast.core.folder import disk_errors, lock, new_file, write_whole


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


def test_a_new_file_that_cannot_be_written_whole_is_gone_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    with pytest.raises(OSError, match="No space"), new_file(path) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not path.exists()
    with new_file(path) as file:
        file.write(b"whole")
    with pytest.raises(FileExistsError), new_file(path):
        pass
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize(
    "said",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        "[enforce fail at inline_container.cc:672] . unexpected pos 9333952 vs 9333840",
        "basic_ios::clear: iostream error",
    ],
)
def test_a_librarys_own_error_for_a_full_disk_is_the_systems(tmp_path: Path, said: str) -> None:
    with pytest.raises(OSError) as raised, disk_errors(tmp_path):
        raise RuntimeError(said)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))


@pytest.mark.parametrize("said", ["Permission denied (os error 13)", "shapes do not match"])
def test_other_errors_of_libraries_stay_what_they_are(tmp_path: Path, said: str) -> None:
    with pytest.raises(RuntimeError, match=r"denied|shapes"), disk_errors(tmp_path):
        raise RuntimeError(said)
