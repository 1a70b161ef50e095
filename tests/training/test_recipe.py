"""Recipes: what ships can be read, and one at CPU size trains its arms and writes the table."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

import tiny_models
from commands import run_command
from holdfast.core.errors import HoldfastError
from holdfast.persona import pool
from holdfast.results.training.recipe import ArmDifference, ArmRow, PublishedFigure, RecipeSummary
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.prism.settings import PrismSettings
from holdfast.training.recipe.reading import read_recipe, settings_of
from holdfast.training.recipe.runs import run_recipe
from holdfast.training.recipe.table import table_of

ARMS = "title = 'x'\nmethod = 'permix'\nmodel = 'y'\narms.a = {}\n"
TRAINED_WITH = pool.load("core", split="train")[0].id
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
samples = 2

[fidelity]
suite = "{suite}"
category = ["language", "pattern"]
max_new_tokens = 2

[[published]]
what = "stability"
value = "+21.2%"
source = "the paper"
"""


def test_every_recipe_that_ships_can_be_read() -> None:
    assert len(RECIPES) >= 4
    for path in RECIPES:
        recipe = read_recipe(path)
        assert recipe.known and (recipe.published or recipe.model == "smollm2")


def test_no_recipe_measures_with_fewer_tokens_than_it_trains_with() -> None:
    """Replies that training rewards would be cut."""
    for recipe in map(read_recipe, RECIPES):
        measured = recipe.robustness_settings or recipe.evaluation_settings
        trained = recipe.train.get("max_new_tokens", 0)
        tokens = getattr(measured, "sampling", measured).max_new_tokens
        assert tokens >= trained, recipe.title


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe at CPU size, with its model, tasks and personas beside it."""
    model = tmp_path / "model"
    tasks, pool = tmp_path / "tasks.jsonl", tmp_path / "pool.toml"
    tiny_models.model().save_pretrained(model)
    tiny_models.tokenizer().save_pretrained(model)
    rows = [{"question": f"{i} + {i}?", "answer": str(2 * i)} for i in range(3)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pool.write_text(POOL, encoding="utf-8")
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    path = tmp_path / "recipe.toml"
    names = {"tasks": tasks.name, "pool": pool.name, "suite": "suite.toml"}
    path.write_text(SMALL.format(model=model, **names), encoding="utf-8")
    return path


run = partial(run_command, "train")


def test_a_recipe_trains_its_arms_for_every_seed_and_goes_on_where_it_was(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(recipe, "--out", out, "--plan", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    # Bytes and seconds of a model of this size may be rounded to nothing.
    assert not out.exists() and all(plan[name] > 0 for name in ("prompts", "tokens", "memory_gb"))
    assert plan.keys() == {"prompts", "tokens", "memory_gb", "disk_gb", "seconds"}
    assert run(recipe, "--plan", "--json") == 0  # which needs no folder
    assert json.loads(capsys.readouterr().out)["prompts"] == plan["prompts"]
    assert run(recipe) == 2 and "--out" in capsys.readouterr().err
    assert run(recipe, "--out", out, "--json") == 0
    text = capsys.readouterr()
    assert text.err.splitlines()[0].startswith(f"train: {plan['prompts']:,} prompts, at most")
    estimate = json.loads(text.out)
    assert [(row["arm"], row["seed"]) for row in estimate["rows"]] == [
        ("base", 0),
        ("permix", 0),
        ("more", 0),
        ("permix", 1),
        ("more", 1),
    ]
    assert {"mean", "worst", "worst/best", "mean, gentle"} <= estimate["rows"][0]["numbers"].keys()
    assert all(
        0 < row["numbers"]["cut"] <= 1 for row in estimate["rows"]
    )  # two samples of each item
    assert estimate["rows"][2]["numbers"]["steps"] == 1  # those that have the tokens of permix
    sizes = {(one["arm"], one["of"]): one["seeds"] for one in estimate["differences"]}
    of = ("accuracy", "accuracy, gentle")
    of += ("fidelity", "fidelity, language", "fidelity, pattern")
    assert sizes == {(arm, one): 2 for arm in ("permix", "more") for one in of}
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| base |" in table and "| stability | +21.2% | the paper |" in table
    assert run(recipe, "--out", out, "--plan", "--json") == 0
    rest = json.loads(capsys.readouterr().out)
    assert (rest["prompts"], rest["tokens"], rest["seconds"]) == (0, 0, 0)
    weights = tmp_path / "out" / "permix-1" / "train" / "model" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_recipe(recipe, tmp_path / "out")
    assert [row.numbers for row in again.rows] == [row["numbers"] for row in estimate["rows"]]
    assert weights.stat().st_mtime_ns == before
    other = recipe.with_name("other.toml")
    other.write_text(recipe.read_text().replace("Two arms", "Three arms"), encoding="utf-8")
    assert run(other, "--out", out) == 2
    assert 'title was "Two arms", is "Three arms"; choose another' in capsys.readouterr().err


def test_a_plan_counts_every_training_and_measurement(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def prompts() -> int:
        assert run(recipe, "--out", tmp_path / "out", "--plan", "--json") == 0
        return int(json.loads(capsys.readouterr().out)["prompts"])

    # Two arms of one step and one prompt, for two seeds; five models, of which each is asked three
    # tasks twice under two personas and none, and two personas' questions with and without.
    assert prompts() == 2 * 2 + 5 * (2 * 3 * 3 + 2 * 2)
    recipe.write_text(recipe.read_text().replace("[0, 1]", "[0]"), encoding="utf-8")
    assert prompts() == 2 + 3 * (2 * 3 * 3 + 2 * 2)


def test_a_recipe_that_does_not_fit_is_refused_before_anything_is_written(
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("holdfast.training.estimate.total_memory", lambda device: 1e6)
    assert run(recipe, "--out", tmp_path / "out") == 2
    assert "of memory and cpu has 0.0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_overwrites_no_table_of_somebody_elses(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "notes"
    out.mkdir()
    (out / "table.md").write_text("mine", encoding="utf-8")
    assert run(recipe, "--out", out) == 2
    assert "holds no run, and a table.md" in capsys.readouterr().err
    assert (out / "table.md").read_text(encoding="utf-8") == "mine"


def test_a_recipe_that_is_not_there_or_a_model_behind_an_api_is_one_sentence(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(tmp_path / "nowhere.toml", "--out", out) == 2
    assert "there are no recipes in" in capsys.readouterr().err
    assert run(recipe, "--out", out, "--model", "api:x") == 2
    assert "api:x cannot be trained: name a model that runs on this" in capsys.readouterr().err
    assert not out.exists()


def test_how_a_recipes_model_is_loaded_reaches_trainings_and_measurements(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from holdfast.models.local import load as local

    calls: list[dict[str, object]] = []
    load = local.load

    def record(name: str, **options: object) -> object:
        calls.append(options)
        return load(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "load", record)
    options = ("--dtype", "float32", "--base", "b", "--template-option", "calm=true")
    recipe.write_text(recipe.read_text().replace("[0, 1]", "[0]"), encoding="utf-8")
    assert run(recipe, "--out", tmp_path / "out", *options) == 0
    expected = {"dtype": "float32", "options": {"calm": True}, "base": "b"}
    assert len(calls) >= 6 and all(expected.items() <= one.items() for one in calls)


PRISM = "title = 'x'\nmethod = 'prism'\nmodel = 'y'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("title = 'x'", "there is no method"),
        (ARMS.replace("permix", "dpo"), "method should be 'permix' or 'prism', not \"dpo\""),
        (ARMS + "gpus = 3", r"there is no gpus: did you mean gpu_hours\?"),
        (ARMS + "gpu_hours = 'many'", 'gpu_hours should be a valid number, not "many"'),
        (ARMS + "gpu_hours = inf", "gpu_hours should be a finite number, not inf"),
        (ARMS + "[train]\nlearning_rate = nan", r"train\.learning_rate should be a finite number"),
        (ARMS + "[arms.b]\nbeta = -inf", r"arms\.b\.beta should be a finite number, not -inf"),
        (ARMS + "[train]\nbeta = true", "beta should be a valid number, not true"),
        (ARMS + "[fidelity]\nsamples = 0", r"\[fidelity\]: at least 1 sample of each answer"),
        (ARMS + "[arms.b]\nprompts = -1", r"\[arms\.b\]: prompts, parts, .* are 1 or more"),
        (ARMS + "[arms.b]\nrollouts = 1", r"\[arms\.b\]: a group has at least 2 rollouts, not 1"),
        (ARMS + "[arms.b]\nsteps = 0", r"\[arms\.b\]: at least 1 step is needed, not 0"),
        (ARMS + "seeds = 3", "seeds should be a valid array, not 3"),
        (ARMS + "seeds = []", "seeds .* at least 1 item"),
        (ARMS + "compare = [['a', 'c']]", "no arm c to compare"),
        (ARMS + "compare = ['a', 'b']", r"compare\.0 should be a valid array, not \"a\""),
        (ARMS + "groups = ['a']", "groups should be a table"),
        (ARMS + "[groups]\nnew = []", r"groups\.new .* at least 1 item"),
        (
            ARMS + "[robustness]\n[groups]\nnew = ['nobody']",
            "nobody, of a group, is no persona of core",
        ),
        (
            ARMS + f"[robustness]\nsplit = 'held-out'\n[groups]\nnew = ['{TRAINED_WITH}']",
            f"{TRAINED_WITH}, of a group, is no persona of the split held-out of core",
        ),
        (ARMS + "[groups]\nnew = ['nobody']", r"\[groups\] are of \[robustness\], which is not"),
        (ARMS.replace("arms.a = {}", "arms = {}"), r"\[arms\] is empty"),
        (ARMS.replace("arms.a", "arms.'../a'"), r"name of a folder, which '\.\./a' is not"),
        (ARMS + "seeds = [0, 1, 0]", r"a seed is named twice in \[0, 1, 0\]"),
        (
            ARMS + "[arms.b]\narm = 'rlvr'\n[arms.c]\nmatch_tokens = {of = 'a', by = 'b'}",
            "the tokens of a, no trained arm before",
        ),
        (ARMS + "[arms.b]\nmatch_tokens = 'a'", "match_tokens of b: this should be a table"),
        (ARMS + "[arms.b]\nmatch_tokens = {of = 'b', by = 'b'}", "of b, no trained arm before"),
        (ARMS + "[arms.b]\nmatch_tokens = {of = 'a'}", "match_tokens of b: there is no by"),
        (ARMS.replace("{}", "'rlvr'"), r"arms\.a should be a table"),
        (ARMS + "[arms.b]\narm = 'dpo'", "there is no arm 'dpo'"),
        (ARMS + "[arms.b]\nseed = 1", r"\[arms.b\] has a seed: .* stand in `seeds`"),
        (ARMS + "[train]\nstep = 3", r"\[train\]: there is no step: did you mean steps\?"),
        (ARMS + "[train]\nsteps = '3'", r"\[train\]: steps should be a valid integer, not \"3\""),
        (ARMS + "[train]\ncategory = 'a'", r"\[train\]: category should be a valid array"),
        (ARMS + "[fidelity]\nsute = 'core'", r"\[fidelity\]: .* did you mean suite\?"),
        (ARMS + "[robustness]\nsplit = 1", r"\[robustness\]: split should be a valid string"),
        (ARMS + "[robustness]\nplacement = 'top'", "there is no placement 'top'"),
        (ARMS + "[evaluation]\nsamples = 1", "a recipe of permix has no evaluation"),
        (ARMS + "[[published]]\nwhat = 'a'\nvalu = 'b'\nsource = 'c'", r"published\.0\.val"),
        (PRISM + "[fidelity]\nsuite = 'core'", "a recipe of prism has no fidelity"),
        (PRISM + "compare = [['prism', 'bass']]", "no arm bass to compare: did you mean base"),
        (PRISM + "[evaluation]\nsample = 1", r"\[evaluation\]: .* did you mean samples\?"),
    ],
)
def test_a_recipe_that_is_wrong_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(HoldfastError, match=sentence):
        read_recipe(path)


def test_what_an_arm_is_measured_on_does_not_depend_on_the_name_of_its_model(
    tmp_path: Path,
) -> None:
    """A trained arm is a folder, which is not known as mini."""
    path = tmp_path / "recipe.toml"
    path.write_text(ARMS + "[robustness]\n[fidelity]", encoding="utf-8")
    for model, own in (("mini", "mini"), ("other/model", "core")):
        recipe = read_recipe(path, model)
        assert recipe.robustness_settings and recipe.fidelity_settings
        assert (recipe.robustness_settings.tasks, recipe.robustness_settings.personas) == (own, own)
        assert recipe.fidelity_settings.suite == own
        assert recipe.model == model


def test_files_of_an_arm_are_looked_for_beside_the_recipe(tmp_path: Path) -> None:
    path, tasks = tmp_path / "recipe.toml", tmp_path / "own.jsonl"
    tasks.write_text('{"question": "2 + 2?", "answer": "4"}', encoding="utf-8")
    path.write_text(ARMS + "[arms.b]\ntasks = 'own.jsonl'", encoding="utf-8")
    assert read_recipe(path).permix_settings("b", 0).data.tasks == str(tasks)


def test_a_recipe_of_prism_trains_and_evaluates_every_seed_and_its_plan_counts_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "prism.toml", tmp_path / "out"
    text = PRISM.replace("'y'", "'mini'") + "seeds = [0, 1]\n[train]\nqueries = 1\n"
    text += "max_new_tokens = 8\n[evaluation]\nsamples = 2\ntasks_per_category = 1\n"
    path.write_text(text + "max_new_tokens = 8", encoding="utf-8")
    assert run(path, "--out", out, "--plan", "--json") == 0
    # Two seeds: a task of each of six categories with a persona and without, and then one of each
    # twice in each of six arms; prism and random have the answers of others.
    assert json.loads(capsys.readouterr().out)["prompts"] == 2 * (6 * 2 + 6 * 2 * 6)
    calls: list[tuple[int, int]] = []
    rows = [
        SimpleNamespace(arm=arm, overall=0.5, routed=0.0, by_category={"math": 1.0})
        for arm in ("base", "matched")
    ]

    def train_nothing(model: object, settings: PrismSettings, **options: object) -> None:
        calls.append((settings.seed, settings.queries))

    def evaluate_nothing(
        model: object, folder: Path, settings: object, **options: object
    ) -> object:
        assert folder == out / f"prism-{calls[-1][0]}" / "train"
        summary = SimpleNamespace(rows=rows, without_persona={"matched": {"law": 3}}, tasks=12)
        # Every seed drops other tasks: those near its own queries.
        ids = [f"t{i}" for i in range(calls[-1][0], 9)]
        scores = {
            "base": dict.fromkeys(ids, 0.5),
            "matched": {one: int(one[1:]) / 8 for one in ids},
        }
        return SimpleNamespace(summary=summary, scores=scores)

    monkeypatch.setattr("holdfast.training.prism.pipeline.train", train_nothing)
    monkeypatch.setattr("holdfast.training.prism.evaluation.evaluate", evaluate_nothing)
    assert run(path, "--out", out) == 0
    assert calls == [(0, 1), (1, 1)]
    table = capsys.readouterr().out
    assert "| base | 0.500 (0.500 to 0.500) | 0.000" in table
    (row,) = [line for line in table.splitlines() if line.startswith("| matched |")]
    assert "as base |" in table and row.endswith("| 0.250 (0.250 to 0.250) |")
    # Over the eight tasks of both seeds, 1/8 to 8/8 less .5.
    assert (
        "| matched − base | overall | +0.062 [-0.193, +0.318]" in table and "| 2 |  | 8 |" in table
    )


def test_settings_of_inner_settings_are_named_alike_and_unknown_ones_are_refused() -> None:
    table = {"steps": 3, "tasks": "x", "category": ["a"]}
    settings = settings_of(PermixSettings, table, where="[train]")
    assert (settings.steps, settings.data.tasks, settings.data.category) == (3, "x", ("a",))
    with pytest.raises(HoldfastError, match=r"\[train\]: there is no step: did you mean steps\?"):
        settings_of(PermixSettings, {"step": 3}, where="[train]")


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
    same = replace(summary.differences[0], mean=0.0, interval=(0.0, 0.0), p=None)
    table_of_same = table_of(replace(summary, differences=(same,)))
    assert "| a − b | accuracy | +0.000 no interval |  | 2 | 3 | 4 |" in table_of_same
    assert "| a | 0.600 (0.500 to 0.700) |" in table
    assert "| b |  |" in table
    assert "Not known of the original: much" in table


def test_many_numbers_are_the_rows_of_a_table_and_arms_its_columns() -> None:
    numbers = {f"n{i}": i / 100 for i in range(20)}
    summary = RecipeSummary(
        title="T",
        model="m",
        rows=(ArmRow("a", 0, numbers), ArmRow("b", 0, numbers)),
        published=(),
        known="",
        unknown="",
        seeds=(0,),
        table="table.md",
        seconds=1.0,
    )
    table = table_of(summary)
    assert "|  | a | b |\n" in table and "| n7 | 0.070 | 0.070 |" in table
