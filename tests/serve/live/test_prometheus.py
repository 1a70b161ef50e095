"""A real Prometheus reads the metrics, evaluates the alert rules and takes the board's queries.

It is Debian's package `prometheus`; without it these tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.persona.suite import Persona
from serve.gateway.upstreams import FakeUpstream, gateway, make_answer
from serve.running import until

DEPLOY = Path(__file__).parents[3] / "deploy" / "watch"
SHOUT = Persona("shout", "pattern", "Shout.", ("Tea?",), {"name": "case", "to": "upper"})
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="no Prometheus: apt-get install prometheus",
)


def completion(text: str) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"content": text}}]}).encode()


def promtool(*args: str, text: str = "") -> str:
    run = subprocess.run(
        ["promtool", *args], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def board_curves() -> list[tuple[str, str]]:
    """Every query of the board, and the legend of its curves."""
    board = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    return [(target["expr"], target["legendFormat"]) for target in targets]


def board_queries() -> list[str]:
    expressions = [query.replace("$__rate_interval", "1m") for query, _ in board_curves()]
    return [re.sub(r"\$\w+", ".*", query) for query in expressions]


def rules() -> list[str]:
    """The expressions of the alert rules, each in one line."""
    text = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    found = re.findall(r"expr: (?:>\n)?(.*?)\n +(?:for|labels):", text, re.DOTALL)
    return [" ".join(one.split()) for one in found]


def labels(page: str) -> dict[str, set[str]]:
    """The labels of each metric that there is, by its name."""
    found: dict[str, set[str]] = {}
    for name, inner in re.findall(r"^(holdfast_\w+)(?:\{(.*)\})? ", page, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", inner))
    return found


def converse(url: str, number: int, rounds: int) -> None:
    messages: list[dict[str, str]] = []
    for r in range(rounds):
        messages.append({"role": "user", "content": f"{number} asks {r}"})
        body = {"model": "m", "messages": messages}
        answer = httpx.post(f"{url}/chat/completions", json=body).json()
        messages.append(
            {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}
        )


@contextmanager
def broken_gateway() -> Iterator[str]:
    """A gateway whose upstream loses the persona in the third round."""

    def answer(request: httpx.Request) -> httpx.Response:
        rounds = sum(one["role"] == "user" for one in json.loads(request.content)["messages"])
        return make_answer(completion("YES" if rounds < 3 else "no"))

    with gateway(FakeUpstream(answer), persona=SHOUT) as url:
        yield url


def test_no_curve_and_no_alert_adds_up_personas_or_controls() -> None:
    with broken_gateway() as url:
        converse(url, 0, 3)
        known = labels(httpx.get(f"{url.removesuffix('/v1')}/metrics").text)
    known["holdfast_engine_up"] = set()  # the local server's
    known["holdfast_upstream_errors_total"] = {"kind"}  # there with the first error
    for query, legend in [*board_curves(), *((rule, "") for rule in rules())]:
        groups = re.findall(r"\bby \(([^)]*)\)", query)
        for name, matchers in re.findall(r"(holdfast_\w+)(?:\{([^}]*)\})?", query):
            assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[name], query
            for group in groups:
                by = set(group.split(", "))
                assert by <= known[name] | {"job", "instance"}, query
                assert known[name] & {"persona", "alias", "control"} <= by, query
                assert set(re.findall(r"{{(\w+)}}", legend)) <= by, query
            aggregated = re.search(r"\b(sum|max|avg|histogram_quantile)\b", query)
            assert groups or not (aggregated and known[name] & {"persona", "control"}), query
            if legend and "persona" in known[name]:  # the board's choice is of every panel
                assert 'persona=~"$persona"' in matchers, query


def test_the_first_webhook_that_fails_is_a_rise_that_an_alert_sees() -> None:
    with broken_gateway() as url:
        page = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    assert 'holdfast_drift_webhooks_total{outcome="failed"} 0.0' in page


def test_rules_and_board_name_only_metrics_that_there_are() -> None:
    with broken_gateway() as url:
        converse(url, 0, 1)
        page = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    metrics = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    metrics |= {f"{name}_{part}" for name in metrics for part in ("sum", "count", "bucket")}
    metrics |= {"holdfast_engine_up"}  # the local server's
    texts = [(DEPLOY / "alerts.yml").read_text(encoding="utf-8"), *board_queries()]
    names = {name for text in texts for name in re.findall(r"\bholdfast_\w+", text)}
    assert names <= metrics


@needs_prometheus
def test_promtool_takes_the_metrics_and_the_rules() -> None:
    with broken_gateway() as url:
        converse(url, 0, 3)
        page = httpx.get(f"{url.removesuffix('/v1')}/metrics").text
    promtool("check", "metrics", text=page)
    assert "6 rules found" in promtool("check", "rules", str(DEPLOY / "alerts.yml"))


@needs_prometheus
def test_a_real_prometheus_fires_the_alert_of_drift_and_answers_the_boards_queries(
    tmp_path: Path,
) -> None:
    with broken_gateway() as url, prometheus(tmp_path, url) as api:
        converse(url, 0, 1)
        until(lambda: query(api, "holdfast_drift_alarms_total")[0]["value"][1] == "0")
        for number in range(1, 25):
            converse(url, number, 3)
        until(lambda: "HoldfastDrift" in firing(api))
        for text in board_queries():
            query(api, text)
        assert query(api, "max(holdfast_persona_score_count)")


@contextmanager
def prometheus(folder: Path, url: str) -> Iterator[str]:
    """A Prometheus with our rules that reads a server; yields the URL of its API."""
    target = url.removesuffix("/v1").removeprefix("http://")
    rules = folder / "alerts.yml"
    rules.write_text((DEPLOY / "alerts.yml").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{rules}]\n"
        f"scrape_configs: [{{job_name: holdfast, static_configs: [{{targets: ['{target}']}}]}}]\n",
        encoding="utf-8",
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    api = f"http://127.0.0.1:{port}/api/v1"
    try:
        until(lambda: ready(f"http://127.0.0.1:{port}/-/ready"))
        until(lambda: bool(query(api, "holdfast_drift_alarms_total")))
        yield api
    finally:
        process.terminate()
        process.wait(30)


def ready(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def query(api: str, text: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{api}/query", params={"query": text}).json()
    assert answer["status"] == "success", answer
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def firing(api: str) -> set[str]:
    alerts = httpx.get(f"{api}/alerts").json()["data"]["alerts"]
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}
