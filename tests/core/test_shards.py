"""Units done elsewhere: shards of a job array and workers of a cluster, as if by one machine."""

from __future__ import annotations

import builtins
import io
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, suite
from commands import run_command
from fake_ray import ActorLost, FakeRay, ResultLost
from holdfast import compare, drift, effect
from holdfast.core.backend import Ask, Sampling
from holdfast.core.cluster import ray_pool
from holdfast.core.cluster.ray_pool import RayPool
from holdfast.core.control import parse
from holdfast.core.errors import HoldfastError, ModelError, RunError
from holdfast.core.extras import install
from holdfast.core.progress import INTERVAL, Progress
from holdfast.core.records import as_record
from holdfast.core.shards import Shard, ShardDone, Where
from holdfast.models import load as models

SMALL = suite()
ROOT = Path(__file__).parents[2]


def run_compare(out: Path, where: Where = None, seed: int = 0, actor: Any = None) -> Any:
    settings: dict[str, Any] = {"controls": ["none", "anchor"], "suite": SMALL, "questions": "none"}
    settings |= {"pairs": 7, "rounds": 2, "batch": 2, "seed": seed}
    return compare(actor or Actor(), out=out, where=where, **settings)


def run_drift(out: Path, where: Where = None, actor: Any = None, **more: Any) -> Any:
    settings: dict[str, Any] = {"suite": SMALL, "pairs": 7, "rounds": 2, "batch": 2}
    return drift(actor or Actor(), out=out, where=where, **settings, **more)


def run_effect(out: Path, where: Where = None, two: Any = None, **more: Any) -> Any:
    two = two or [Actor(name="one"), Actor(name="two")]
    settings: dict[str, Any] = {"tasks": "mini", "personas": "mini", "tasks_per_category": 2}
    return effect(two, samples=2, out=out, where=where, **settings, **more)


def records(folder: Path) -> bytes:
    return (folder / "records.jsonl").read_bytes()


def run_shards(measure: Any, out: Path, parts: list[int], of: int) -> None:
    for i in parts:
        with pytest.raises(ShardDone):
            measure(out, Shard(i, of))


@pytest.mark.parametrize("measure", [run_compare, run_drift, run_effect])
def test_shards_of_a_run_make_the_records_of_one_machine(measure: Any, tmp_path: Path) -> None:
    whole = measure(tmp_path / "whole")
    run_shards(measure, tmp_path / "run", [3, 1, 2], 3)
    assert not (tmp_path / "run" / "summary.json").exists()
    merge = measure(tmp_path / "run")
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    timings = {"seconds", "report", "replies_per_second", "rows", "by_rounds"}
    one, other = as_record(whole.summary), as_record(merge.summary)
    for name in one.keys() - timings:
        assert other[name] == one[name], name


@pytest.mark.parametrize("measure", [run_drift, run_effect])
def test_a_shard_shows_its_own_steps_out_of_its_own_steps(measure: Any, tmp_path: Path) -> None:
    lines = io.StringIO()
    clock = itertools.count(step=2 * INTERVAL)  # so that every step writes a line
    progress = Progress(stream=lines, clock=lambda: float(next(clock)))
    with pytest.raises(ShardDone):
        measure(tmp_path, Shard(2, 4), progress=progress)
    steps, total = re.findall(r"(\d+) of (\d+)", lines.getvalue())[-1]
    assert steps == total


def test_what_a_shard_did_not_do_is_done_by_the_command_that_merges(tmp_path: Path) -> None:
    run_compare(tmp_path / "whole")
    run_shards(run_compare, tmp_path / "run", [2], 3)
    # The third was cut off in the middle of a batch.
    run_shards(run_compare, tmp_path / "run", [3], 3)
    part = tmp_path / "run" / "shard-3-of-3" / "records.jsonl"
    part.write_bytes(part.read_bytes()[: len(part.read_bytes()) // 2])
    run_compare(tmp_path / "run")
    assert records(tmp_path / "run") == records(tmp_path / "whole")


def test_a_merged_run_takes_nothing_over_twice(tmp_path: Path) -> None:
    run_shards(run_compare, tmp_path / "run", [1, 2], 2)
    run_compare(tmp_path / "run")
    before, actor = records(tmp_path / "run"), Actor()
    run_compare(tmp_path / "run", actor=actor)
    assert records(tmp_path / "run") == before and not actor.calls


def test_a_shard_is_resumed_in_its_own_folder(tmp_path: Path) -> None:
    run_shards(run_compare, tmp_path / "run", [1], 2)
    actor = Actor()
    with pytest.raises(ShardDone) as end:
        run_compare(tmp_path / "run", Shard(1, 2), actor=actor)
    assert not actor.calls
    assert end.value.summary.units == 2 and end.value.summary.of == 4


def test_a_shard_of_another_run_is_refused(tmp_path: Path) -> None:
    run_shards(run_compare, tmp_path / "run", [1], 2)
    run_shards(run_compare, tmp_path / "other", [2], 2)
    with pytest.raises(ShardDone):
        run_compare(tmp_path / "another", Shard(2, 2), seed=1)
    shutil.copytree(tmp_path / "another" / "shard-2-of-2", tmp_path / "run" / "shard-2-of-2")
    with pytest.raises(RunError, match="shard-2-of-2 holds another run"):
        run_compare(tmp_path / "run")


def test_records_come_out_in_the_order_of_the_units_whatever_order_they_came_in(
    tmp_path: Path,
) -> None:
    run_compare(tmp_path / "whole")
    lines = records(tmp_path / "whole").splitlines(keepends=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    # The last of the four batches, one conversation under two controls, came first.
    (tmp_path / "run" / "records.jsonl").write_bytes(b"".join(lines[-6:] + lines[:-6]))
    run_compare(tmp_path / "run")
    assert records(tmp_path / "run") == records(tmp_path / "whole")


@given(st.integers(1, 9), st.integers(0, 40))
def test_every_unit_belongs_to_exactly_one_shard(of: int, unit: int) -> None:
    assert [Shard(i, of).has(unit) for i in range(1, of + 1)].count(True) == 1


@given(st.text(max_size=6))
def test_a_shard_is_a_part_of_a_whole_or_refused(text: str) -> None:
    try:
        shard = Shard.parse(text)
    except HoldfastError as error:
        assert "i/n" in str(error)
    else:
        assert 1 <= shard.index <= shard.of


@pytest.fixture
def use_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "load", lambda name, **options: Actor(name=name))


@pytest.mark.usefixtures("use_actors")
def test_the_command_says_what_a_shard_did_and_then_sums_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [
        "drift",
        "--pairs",
        "4",
        "--rounds",
        "1",
        "--batch",
        "1",
        "--out",
        str(tmp_path / "run"),
    ]
    assert run_command(*args, "--shard", "1/2", "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["shard"] == "1/2" and (summary["units"], summary["of"]) == (2, 4)
    assert run_command(*args, "--shard", "2/2") == 0
    assert "the same command without a shard sums up" in capsys.readouterr().out
    assert run_command(*args, "--json") == 0
    assert json.loads(capsys.readouterr().out)["conversations"] == 4


@pytest.mark.usefixtures("use_actors")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (["--shard", "0/2"], "i/n with i from 1 to n"),
        (["--shard", "3/2"], "i/n with i from 1 to n"),
        (["--shard", "two"], "i/n with i from 1 to n"),
        (["--shard", "1/2", "--ray", "auto"], "give one of them"),
        (["--ray", "nowhere"], "auto or the head's HOST:PORT"),
        (["--ray", "auto", "--device", "cuda:1"], "on a cluster it is cuda or auto"),
    ],
)
@pytest.mark.parametrize("command", ["compare", "drift", "effect"])
def test_a_mistake_ends_in_one_sentence(
    command: str,
    wrong: list[str],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_command(command, "--out", str(tmp_path / "run"), *wrong) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and "\n" not in error


def test_where_there_is_no_cluster_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert run_command("drift", "--ray", f"127.0.0.1:{port}") == 2
    assert f"no Ray cluster at 127.0.0.1:{port}" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run_command("drift", "--ray", "auto") == 2
    assert install("ray") in capsys.readouterr().err


def make_pool(
    monkeypatch: pytest.MonkeyPatch,
    dies: Any = lambda *_: False,
    cpus: int = 3,
    error: type[Exception] = ActorLost,
    **openers: Any,
) -> tuple[RayPool, FakeRay]:
    ray = FakeRay(cpus, dies, error)
    monkeypatch.setattr(ray_pool, "_connect", lambda address: ray)
    return RayPool("auto", [openers.get("opener", Actor)]), ray


@pytest.mark.parametrize("measure", [run_compare, run_drift])
def test_a_pool_makes_the_records_of_one_machine_in_whatever_order_they_come(
    measure: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measure(tmp_path / "one")
    pool, ray = make_pool(monkeypatch)
    measure(tmp_path / "many", pool, actor=pool.models[0])
    assert ray.starts == 3
    assert records(tmp_path / "many") == records(tmp_path / "one")


def test_a_pool_holds_several_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_effect(tmp_path / "one")
    monkeypatch.setattr(ray_pool, "_connect", lambda address: FakeRay(2, lambda *_: False))
    with RayPool("auto", [partial(Actor, name=name) for name in ("one", "two")]) as pool:
        run_effect(tmp_path / "many", pool, pool.models)
    assert records(tmp_path / "many") == records(tmp_path / "one")


def test_the_batch_of_a_lost_worker_is_done_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_compare(tmp_path / "one")
    pool, ray = make_pool(monkeypatch, lambda worker, method, _: worker == 2 and method == "do")
    run_compare(tmp_path / "many", pool, actor=pool.models[0])
    assert records(tmp_path / "many") == records(tmp_path / "one")
    assert "is done again" in capsys.readouterr().err and ray.dead == {2}


def test_a_batch_that_costs_three_workers_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def dies(worker: int, method: str, args: Any) -> bool:
        return method == "do" and args[1].unit.index == 0  # the first batch

    pool, _ = make_pool(monkeypatch, dies)
    with pytest.raises(RunError, match="3 workers were lost on the same batch"):
        run_compare(tmp_path / "many", pool, actor=pool.models[0])


def test_an_interrupted_pool_goes_on_and_asks_only_for_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_compare(tmp_path / "one")
    run_shards(run_compare, tmp_path / "run", [2], 2)
    methods: list[str] = []
    pool, _ = make_pool(monkeypatch, lambda worker, method, _: bool(methods.append(method)))
    run_compare(tmp_path / "run", pool, actor=pool.models[0])
    assert methods.count("do") == 2
    assert records(tmp_path / "run") == records(tmp_path / "one")


def test_nodes_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = iter(["same", "same", "another"])
    pool, _ = make_pool(monkeypatch, opener=lambda: Actor(name=next(names)))
    with pytest.raises(RunError, match="nodes differ in name"):
        run_compare(tmp_path / "many", pool, actor=pool.models[0])


def test_what_a_model_refuses_on_a_worker_is_said_in_the_same_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse() -> Actor:
        raise ModelError("there is no model of that name.")

    with pytest.raises(ModelError, match=r"^there is no model of that name\.$"):
        make_pool(monkeypatch, opener=refuse)


def test_a_cluster_without_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match="has 1 CPU"):
        make_pool(monkeypatch, cpus=0)


def test_what_a_worker_waits_for_on_a_full_cluster_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray = FakeRay(2, lambda *_: False, full=True)
    monkeypatch.setattr(ray_pool, "_connect", lambda address: ray)
    RayPool("auto", [Actor])
    line = (
        "waiting for a worker to begin: it takes 1 CPU of one node, and 0 CPU in all are "
        "free (see `ray status`)\n"
    )
    assert capsys.readouterr().err == line


def test_a_pool_that_has_lost_its_workers_says_what_the_next_ones_wait_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, ray = make_pool(monkeypatch, lambda worker, method, _: (worker, method) == (1, "do"), 1)
    ray.full = True  # others took the place
    run_drift(tmp_path / "many", pool, actor=pool.models[0])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == [
        "a worker was lost",
        "waiting for a worker to begin",
    ]
    assert ray.starts == 2


def test_the_asking_machine_can_ask_a_model_that_only_workers_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, _ = make_pool(monkeypatch, lambda worker, method, _: worker == 1 and method == "call")
    (model,) = pool.models
    assert model.count("two words") == 2  # by the worker that took the first one's place
    assert model.refusal(parse("anchor")) is None and model.describe() == {"name": "actor"}
    assert model.reply([Ask(({"role": "user", "content": "Hi"},), 5)], Sampling())[0].text


def test_a_worker_that_is_lost_before_the_units_leaves_its_place_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_drift(tmp_path / "one")
    pool, ray = make_pool(
        monkeypatch, lambda worker, method, _: worker == 1 and method == "call", 1
    )
    assert pool.models[0].count("two words") == 2
    run_drift(tmp_path / "many", pool, actor=pool.models[0])
    assert (ray.starts, ray.dead) == (2, {1})  # there is room for one at a time
    assert records(tmp_path / "many") == records(tmp_path / "one")


@pytest.mark.parametrize("method", ["open", "call"])
def test_a_cluster_that_loses_every_worker_is_said(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="loses every worker that loads the model"):
        pool, _ = make_pool(monkeypatch, lambda _, name, __: name == method)
        pool.models[0].count("two words")


def test_a_worker_that_is_lost_while_it_loads_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(worker: int, method: str, _: Any) -> bool:
        return (worker, method) in {(1, "open"), (2, "call"), (3, "open")}

    pool, ray = make_pool(monkeypatch, dies)
    assert pool.models[0].count("two words") == 2 and ray.starts == 4


@pytest.mark.parametrize("alone", [True, False])
def test_workers_that_are_all_lost_while_they_load_are_not_replaced_for_ever(
    alone: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first worker has loaded: it does the batches by itself, or is lost with the first."""
    run_drift(tmp_path / "one")

    def dies(worker: int, method: str, _: Any) -> bool:
        return (worker > 1 and method == "open") or (not alone and method == "do")

    pool, ray = make_pool(monkeypatch, dies)
    if alone:
        run_drift(tmp_path / "many", pool, actor=pool.models[0])
        assert records(tmp_path / "many") == records(tmp_path / "one")
        assert "the others go on" in capsys.readouterr().err
    else:
        with pytest.raises(RunError, match="loses every worker that loads the model"):
            run_drift(tmp_path / "many", pool, actor=pool.models[0])
    assert ray.starts <= 3 + ray_pool.MAX_LOSSES


def test_a_result_that_is_lost_with_its_node_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_drift(tmp_path / "one")
    pool, ray = make_pool(
        monkeypatch, lambda worker, method, _: worker == 2 and method == "do", error=ResultLost
    )
    run_drift(tmp_path / "many", pool, actor=pool.models[0])
    assert records(tmp_path / "many") == records(tmp_path / "one") and ray.dead == {2}


def test_a_package_that_a_node_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Actor:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    with pytest.raises(RunError, match=r"^a node of the cluster lacks torch: install the same"):
        make_pool(monkeypatch, opener=refuse)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            RuntimeError("Version mismatch: the cluster has\n  Ray: 9.9"),
            "mismatch: the cluster has",
        ),
        (ConnectionError("Could not find any running Ray instance."), "there is no Ray cluster"),
    ],
)
def test_why_ray_does_not_connect_is_said(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match=sentence) as failure:
        RayPool("auto", [Actor])
    assert "\n" not in str(failure.value)


@pytest.fixture
def nodes() -> Iterator[tuple[str, Any]]:
    """The address of a cluster of two nodes, and what takes one of them away."""
    pytest.importorskip("ray")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "RAY_USAGE_STATS_ENABLED": "0"}
    env["RAY_worker_niceness"] = "0"
    script = [sys.executable, str(ROOT / "tests" / "cluster_nodes.py")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(script, env=env, stderr=subprocess.DEVNULL, **pipes) as cluster:
        assert cluster.stdin and cluster.stdout

        def lose_one() -> None:
            assert cluster.stdin
            cluster.stdin.write("kill\n")
            cluster.stdin.flush()

        yield cluster.stdout.readline().strip(), lose_one
        cluster.stdin.close()


@pytest.mark.slow
def test_a_cluster_that_loses_a_node_half_way_makes_the_records_of_one_machine(
    nodes: tuple[str, Any], tmp_path: Path
) -> None:
    address, lose_one = nodes
    pairs, rounds, out = 12, 4, tmp_path / "ray"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "holdfast", "compare", "--controls", "none,anchor"]
    command += [
        "--pairs",
        str(pairs),
        "--batch",
        "1",
        "--rounds",
        str(rounds),
        "--questions",
        "none",
    ]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--ray", address, "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    half = pairs * (rounds + 1)  # of the records, under two controls
    while process.poll() is None:
        if (out / "records.jsonl").exists() and len(records(out).splitlines()) >= half:
            break
        time.sleep(0.05)
    lose_one()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "a worker was lost" in errors
    assert json.loads(output)["conversations"] == pairs
    subprocess.run([*command, "--out", str(tmp_path / "one")], env=env, check=True)
    assert records(out) == records(tmp_path / "one")
