"""Recipes: what ships can be read, and one at CPU size trains its arms and writes the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tiny_models
from holdfast.cli import main
from holdfast.core.errors import HoldfastError
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.robustness.settings import RobustnessSettings
from holdfast.results.training.recipe import ArmDifference, ArmRow, PublishedFigure, RecipeSummary
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.prism.settings import PrismEvalSettings, PrismSettings
from holdfast.training.recipe import read_recipe, run_recipe, settings_of
from holdfast.training.recipe_table import table_of

ARMS = "title = 'x'\nmethod = 'permix'\nmodel = 'y'\narms.a = {}\n"
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
POOL = """
[[persona]]
id = "loud"
kind = "harmful"
split = "train"
text = "Write in capitals."

[[persona]]
id = "kind"
kind = "helpful"
text = "You are kind."

[[persona]]
id = "calm"
kind = "irrelevant"
text = "You are calm."
"""
SUITE = """
[[persona]]
id = "french"
category = "language"
prompt = "Speak French."
probes = ["Well?"]
judge = { name = "language", to = "fr" }

[[persona]]
id = "loud"
category = "pattern"
prompt = "Write in capitals."
probes = ["Well?"]
judge = { name = "case", to = "upper" }
"""
SMALL = """
title = "Two arms"
method = "permix"
model = "{model}"
seeds = [0, 1]

[train]
tasks = "{tasks}"
personas = "{pool}"
steps = 1
prompts = 1
rollouts = 2
max_new_tokens = 2
trial = false

[arms.base]

[arms.permix]
arm = "permix"

[arms.more]
arm = "rlvr"
match_tokens = {{of = "permix", by = "permix"}}
steps = 3

[groups]
gentle = ["kind", "calm"]

[robustness]
tasks = "{tasks}"
personas = "{pool}"
split = "held-out"
max_new_tokens = 2

[fidelity]
suite = "{suite}"
category = ["language", "pattern"]
max_new_tokens = 2

[[published]]
what = "stability"
value = "+21.2%"
source = "the paper"
"""


def test_every_recipe_that_ships_names_settings_that_there_are() -> None:
    assert len(RECIPES) >= 4
    kinds = {"robustness": RobustnessSettings, "fidelity": FidelitySettings}
    for path in RECIPES:
        recipe = read_recipe(path)
        trained = PermixSettings if recipe.method == "permix" else PrismSettings
        for arm in recipe.arms.values() if recipe.method == "permix" else [{}]:
            own = {name: value for name, value in arm.items() if name != "match_tokens"}
            settings_of(trained, recipe.tables["train"], own)
        for name, kind in (kinds | {"evaluation": PrismEvalSettings}).items():
            if name in recipe.tables:
                settings_of(kind, recipe.tables[name])
        assert recipe.known and (recipe.published or recipe.model == "smollm2")


def test_a_recipe_trains_its_arms_for_every_seed_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    tasks, pool = tmp_path / "tasks.jsonl", tmp_path / "pool.toml"
    tiny_models.model().save_pretrained(model)
    tiny_models.tokenizer().save_pretrained(model)
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(3)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pool.write_text(POOL, encoding="utf-8")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    recipe = tmp_path / "recipe.toml"
    names = {"tasks": tasks.name, "pool": pool.name, "suite": "suite.toml"}
    recipe.write_text(SMALL.format(model=model, **names), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["train", str(recipe), "--out", str(tmp_path / "out"), "--json"])
    assert not ended.value.code
    found = json.loads(capsys.readouterr().out)
    assert [(row["arm"], row["seed"]) for row in found["rows"]] == [
        ("base", 0),
        ("permix", 0),
        ("more", 0),
        ("permix", 1),
        ("more", 1),
    ]
    assert {"mean", "worst", "worst/best", "mean, gentle"} <= found["rows"][0]["numbers"].keys()
    assert found["rows"][2]["numbers"]["steps"] == 1  # those that have the tokens of permix
    sizes = {(one["arm"], one["of"]): one["seeds"] for one in found["differences"]}
    of = ("accuracy", "accuracy, gentle")
    of += ("fidelity", "fidelity, language", "fidelity, pattern")
    assert sizes == {(arm, one): 2 for arm in ("permix", "more") for one in of}
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| base |" in table and "| stability | +21.2% | the paper |" in table
    weights = tmp_path / "out" / "permix-1" / "train" / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_recipe(recipe, tmp_path / "out")
    assert [row.numbers for row in again.rows] == [row["numbers"] for row in found["rows"]]
    assert weights.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = 'x'", "there is no method"),
        ("title = 'x'\nmethod = 'dpo'\nmodel = 'y'", "the method is permix or prism"),
        ("title = 'x'\nmethod = 'permix'\nmodel = 'y'\ngpus = 3", "gpus is unknown"),
        (ARMS + "compare = [['a', 'c']]", "no arm c to compare"),
        (ARMS + "compare = ['a', 'b']", "compare is a list of pairs"),
        (ARMS + "groups = ['a']", "a group is a list of ids"),
        (ARMS + "[groups]\nnew = []", "a group is a list of ids"),
        (ARMS + "[arms.b]\nmatch_tokens = 'a'", "match_tokens of b has of and by"),
        (ARMS.replace("{}", "'rlvr'"), "an arm is a table of settings"),
        (ARMS + "[arms.b]\nmatch_tokens = {of = 'a', by = 'b'}", "the tokens of b, no arm before"),
        (ARMS + "[arms.b]\nmatch_tokens = {of = 'a'}", "has of and by"),
        (ARMS + "[groups]\nnew = ['nobody']", "nobody, of a group, is no persona of core"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HoldfastError, match=sentence):
        read_recipe(path)


def test_settings_of_inner_settings_are_named_alike_and_unknown_ones_are_refused() -> None:
    settings = settings_of(PermixSettings, {"steps": 3, "tasks": "x", "category": ["a"]})
    assert (settings.steps, settings.data.tasks, settings.data.category) == (3, "x", ("a",))
    with pytest.raises(HoldfastError, match="PermixSettings has no step:"):
        settings_of(PermixSettings, {"step": 3})


def test_a_table_gives_means_over_seeds_and_how_far_they_spread() -> None:
    summary = RecipeSummary(
        title="T",
        model="m",
        rows=(ArmRow("a", 0, {"x": 0.5}), ArmRow("a", 1, {"x": 0.7}), ArmRow("b", 0, {"x": None})),
        differences=(
            ArmDifference(
                arm="a",
                against="b",
                of="accuracy",
                mean=0.1,
                interval=(-0.1, 0.3),
                p=0.31,
                seeds=2,
                personas=3,
                items=4,
            ),
        ),
        published=(PublishedFigure("y", "1", "z"),),
        known="",
        unknown="much",
        seeds=(0, 1),
        table="",
        seconds=0.0,
    )
    table = table_of(summary)
    assert "| a − b | accuracy | +0.100 [-0.100, +0.300] | 0.310 | 2 | 3 | 4 |" in table
    assert "| a | 0.600 (0.500 to 0.700) |" in table
    assert "| b |  |" in table
    assert "Not known of the original: much" in table
