"""The notebooks under examples/ run as they are, and show what they promise."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> NotebookNode:
    """examples/drift.ipynb with its outputs, run in a kernel of this Python."""
    home = tmp_path_factory.mktemp("home")
    notebook = nbformat.read(EXAMPLES / "drift.ipynb", as_version=4)
    with pytest.MonkeyPatch.context() as patch:
        # What a kernel writes (its history, its fonts, its ports) belongs to this test alone.
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
            (home / name).mkdir()
            patch.setenv(name, str(home / name))
        patch.delenv("MPLBACKEND", raising=False)
        resources = {"metadata": {"path": str(home)}}
        NotebookClient(
            notebook, timeout=600, startup_timeout=300, kernel_name="python3", resources=resources
        ).execute()
    return notebook


def outputs(notebook: NotebookNode, cell: str) -> list[NotebookNode]:
    """What a cell put out."""
    return list(next(c for c in notebook.cells if c.id == cell).outputs)


def text(notebook: NotebookNode, cell: str) -> str:
    """What a cell printed."""
    texts = [o.text for o in outputs(notebook, cell) if o.output_type == "stream"]
    return "".join(texts)


def test_the_notebook_says_in_words_what_it_found(notebook: NotebookNode) -> None:
    assert "eight rounds" in text(notebook, "run")


def test_the_notebook_has_a_score_by_category_and_round(notebook: NotebookNode) -> None:
    (table,) = outputs(notebook, "category")
    table_text = table["data"]["text/plain"]
    assert all(category in table_text for category in ("choice", "memory", "pattern"))
    assert "NaN" not in table_text


def test_the_notebook_draws_the_curve(notebook: NotebookNode) -> None:
    assert any("image/png" in o.get("data", {}) for o in outputs(notebook, "plot"))


def test_the_notebook_shows_a_conversation_of_eight_rounds(notebook: NotebookNode) -> None:
    table_text = text(notebook, "look")
    assert table_text.count("probe: ") == 9
    assert table_text.count("agent: ") == 8


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
