"""The five stages and the evaluation as a whole, on a small random model."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel

from actors import Actor
from holdfast import models
from holdfast.backend import Sampling
from holdfast.cli import main
from holdfast.errors import HoldfastError, ModelError, RunError
from holdfast.expert import Expert
from holdfast.local import LocalBackend
from holdfast.prism import distil, pipeline, routing
from holdfast.prism.distil import Recipe
from holdfast.prism.evaluation import ARMS, evaluate
from models import model, tokenizer

ANN = Expert("ann", ("talk",), "You are Ann.", "You are Ann.", "You are Ann, who says: xyz xyz.")
BOB = Expert("bob", ("other",), "You are Bob.", "You are Bob.", "You are Bob the builder, zyx.")
SHORT = Sampling(max_new_tokens=6, temperature=0.0)
SMALL = Recipe(rank=2, alpha=4, epochs=8, batch=8, learning_rate=1e-2)


def backend(seed: int = 0) -> LocalBackend:
    return LocalBackend(model("llama", seed), tokenizer(), "small", batch_size=16)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks with a judge under which a random model's replies differ."""
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    rows = [
        {
            "category": category,
            "id": f"{category}{i}",
            "turns": [f"{category} number {i}?"],
            "judge": {"name": "regex", "pattern": "[aeiou]"},
        }
        for category in ("talk", "other")
        for i in range(16)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def trained(out: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Every second query is won, whatever was said: a random model has no better."""
    even = lambda record: lambda text: float(record["number"] % 2 and text == record["persona"])  # noqa: E731
    monkeypatch.setattr(pipeline, "_truth", lambda own, given: even)
    return pipeline.train(
        backend(), out, personas=[ANN, BOB], tasks=tasks, sampling=SHORT, recipe=SMALL
    ).summary


def test_the_stages_leave_a_gate_and_a_stock_adapter_and_say_what_they_are_worth(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "prism"
    found = trained(out, tasks, monkeypatch)
    assert found["queries"] == 32 == found["wins"] + found["losses"] + found["ties"]
    assert 0 < found["wins"] < 32
    assert found["kl_last"] < found["kl_first"]
    assert found["kl_first"] > 10 * found["kl_same"]
    assert {"auc", "accuracy", "majority"} <= found["gate"].keys()
    shown = pipeline.samples(out, count=1)
    assert [one["verdict"] for one in shown] == ["win"]
    assert shown[0]["persona"] != shown[0]["plain"]
    stock = PeftModel.from_pretrained(model("llama"), str(out))
    assert any("lora_A" in name for name, _ in stock.named_parameters())
    assert not any(".layers.0." in name and "lora" in name for name, _ in stock.named_parameters())
    stock.unload()  # the random model is shared
    before = (out / "verdicts" / "records.jsonl").read_bytes()
    again = trained(out, tasks, monkeypatch)
    assert before == (out / "verdicts" / "records.jsonl").read_bytes()
    assert {k: again[k] for k in ("wins", "gate")} == {k: found[k] for k in ("wins", "gate")}


def test_the_model_is_as_it_was_after_training_and_routing(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = backend()
    names = [name for name, _ in own.engine.model.named_modules()]
    trained(tmp_path / "prism", tasks, monkeypatch)
    with routing.Router(own, tmp_path / "prism"):
        pass
    assert [name for name, _ in own.engine.model.named_modules()] == names
    assert own.describe() == backend().describe()


def test_every_arm_is_scored_and_the_gate_costs_nothing_where_it_is_off(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path / "prism", tasks, monkeypatch)
    others = tmp_path / "others.jsonl"
    others.write_text(tasks.read_text(encoding="utf-8").replace('"id": "', '"id": "x'), "utf-8")
    found = evaluate(backend(), tmp_path / "prism", tasks=others, samples=1, sampling=SHORT)
    rows = {row["arm"]: row for row in found["rows"]}
    assert tuple(rows) == ARMS
    assert rows["base"]["against"]["base"]["delta"] == 0
    assert (rows["base"]["routed"], rows["always"]["routed"]) == (0, 1)
    assert 0 <= rows["prism"]["routed"] <= 1
    assert rows["oracle"]["overall"] >= max(rows["base"]["overall"], rows["always"]["overall"])
    with pytest.raises(HoldfastError, match="not trained on"):
        evaluate(backend(), tmp_path / "prism", tasks=tasks, samples=1, sampling=SHORT)
    with pytest.raises(ModelError, match="whose weights are not those"):
        evaluate(backend(seed=1), tmp_path / "prism", tasks=others)


def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="needs a model on this machine"):
        pipeline.train(Actor(), tmp_path / "a")
    monkeypatch.setattr(pipeline, "_truth", lambda own, given: lambda record: lambda text: 0.0)
    with pytest.raises(ModelError, match="no persona won any of 32"):
        pipeline.train(backend(), tmp_path / "b", personas=[ANN, BOB], tasks=tasks, sampling=SHORT)
    monkeypatch.setattr(pipeline, "_truth", lambda own, given: None)
    with pytest.raises(ModelError, match="never said A, B or TIE"):
        pipeline.train(backend(), tmp_path / "c", personas=[ANN, BOB], tasks=tasks, sampling=SHORT)
    with pytest.raises(RunError, match="no trained PRISM"):
        pipeline.about(tmp_path / "nothing")


def test_a_teacher_without_the_persona_and_an_empty_set_are_refused(tmp_path: Path) -> None:
    own = backend()
    chat = ({"role": "user", "content": "Are you Ann?"},)
    with pytest.raises(ModelError, match="to the teacher alone"):
        distil.pair(own, "Ann", chat, "Yes.")
    with pytest.raises(ModelError, match="no persona won an answer"):
        distil.distil(own, [], SMALL, tmp_path)
    same = distil.pair(own, "You are Bob.", chat, "Yes.")
    alike = same._replace(teacher=same.student)
    with pytest.raises(ModelError, match="changes nothing that could be distilled"):
        distil.distil(own, [alike] * 4, SMALL, tmp_path)


def test_the_commands_print_what_scripts_rely_on(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path / "prism", tasks, monkeypatch)
    monkeypatch.setattr(models, "load", lambda name, **options: backend())
    others = tmp_path / "others.jsonl"
    others.write_text(tasks.read_text(encoding="utf-8").replace('"id": "', '"id": "x'), "utf-8")
    args = ["--adapter", str(tmp_path / "prism"), "--tasks", str(others), "--samples", "1"]
    with pytest.raises(SystemExit) as ended:
        main(["prism", "eval", *args, "--max-new-tokens", "4", "--json"])
    assert not ended.value.code
    rows = json.loads(capsys.readouterr().out)["rows"]
    wanted = {"arm", "overall", "by_category", "interval", "routed"}
    assert all(wanted <= row.keys() for row in rows)
    with pytest.raises(SystemExit) as ended:
        main(["prism", "eval", "--adapter", str(tmp_path / "nothing")])
    assert ended.value.code == 2
    assert "holds no trained PRISM" in capsys.readouterr().err


def test_without_peft_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    own = backend()
    chat = ({"role": "user", "content": "Are you Ann?"},)
    pair = distil.pair(own, "You are Bob.", chat, "Yes.")
    with pytest.raises(ModelError, match="needs peft: pip install"):
        distil.distil(own, [pair], SMALL, tmp_path)
