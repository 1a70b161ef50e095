from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from character_cards import V2
from holdfast import cli
from holdfast.core.errors import PersonaError
from holdfast.models.local.backend import LocalBackend
from holdfast.persona.cards.card import parse_card, write_card
from holdfast.persona.every_reply import load_persona
from holdfast.serve.engine.worker import EngineSpec


def refuse(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as caught:
        cli.main(["serve", *args])
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_another_address_than_loopback_demands_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOLDFAST_SERVE_KEY", raising=False)
    assert "demands a key" in refuse(capsys, "--host", "0.0.0.0")


def test_a_port_that_is_taken_is_said_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        text = refuse(capsys, "--port", port)
        assert "cannot be listened on (Address already in use): choose" in text
        assert "no control 'magic'" in refuse(capsys, "--port", port, "--control", "magic")
    text = refuse(capsys, "--host", "no host", "--api-key", "x")
    assert "no host:8000 cannot be listened on (" in text and "attempting" not in text


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--traffic-log", "no/folder/traffic.jsonl"], "cannot be written"),
        (["--webhook", "hooks.example"], "--webhook is the URL"),
    ],
)
def test_where_traffic_cannot_go_is_said_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("holdfast.serve.engine.process.EngineProcess", pytest.fail)
    options = ["--persona", "mini:upper-1", "--port", "0", *args]
    assert sentence in refuse(capsys, *options)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--model", "api:x"], "--upstream"),
        (["--upstream", "nowhere"], "base URL"),
        (["--upstream", "http://127.0.0.1:9/v1", "--control", "anchor"], "needs its weights"),
        (["--upstream", "http://127.0.0.1:9/v1", "--control", "magic"], "no control 'magic'"),
        (["--upstream", "http://127.0.0.1:9/v1", "--control", "prism:no"], "no trained PRISM"),
        (["--upstream", "http://127.0.0.1:9/v1", "--lora", "x"], "--lora names an adapter"),
        (["--pass-through", "/v1/files"], "is for an --upstream"),
        (["--upstream", "http://127.0.0.1:9/v1", "--pass-through", "/v1/../x"], "takes a path"),
        (["--upstream", "http://127.0.0.1:9/v1", "--template-option", "a=1"], "set it there"),
        (["--template-option", "messages=1"], "may not set messages"),
        (["--persona", "nobody.toml"], "no file"),
        (["--tenants", "nowhere.toml"], "nowhere.toml cannot be read: No such file or directory."),
        (["--persona", "mini"], "name one"),
        (["--persona", ""], "none was given"),
        (["--upstream", ""], "base URL"),
        (["--api-key", ""], "--api-key is empty"),
        (["--upstream", "http://127.0.0.1:9/v1", "--cache", "0"], "set it there"),
        (["--upstream", "http://127.0.0.1:9/v1", "--max-context", "9"], "set it there"),
        (["--upstream", "http://127.0.0.1:9/v1", "--dtype", "float32"], "--dtype is the server's"),
        (["--upstream", "http://127.0.0.1:9/v1", "--device", "cpu"], "--device is the server's"),
        (["--upstream", "http://127.0.0.1:9/v1", "--base", "mini"], "--base is the server's"),
        (["--upstream", "http://127.0.0.1:9/v1", "--model", "x"], "--model is the server's"),
        (["--upstream-timeout", "9"], "--upstream-timeout is for an --upstream"),
        (["--upstream-retries", "0"], "--upstream-retries is for an --upstream"),
        (["--upstream-key", "sesame"], "is for an --upstream"),
        (["--verify", "neutral"], "is for an --upstream"),
        (["--traffic-log", "traffic.jsonl"], "replies under a persona"),
        (["--webhook", "https://hooks.example"], "replies under a persona"),
        (["--judge-model", "api:x"], "replies under a persona"),
    ],
)
def test_what_cannot_be_served_is_one_sentence(
    capsys: pytest.CaptureFixture[str], args: list[str], sentence: str
) -> None:
    assert sentence in refuse(capsys, "--port", "0", *args)


def test_base_and_template_options_reach_the_engine_and_what_reads_chats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    specs: list[EngineSpec] = []
    backends: list[LocalBackend] = []
    monkeypatch.setattr("holdfast.serve.engine.process.EngineProcess", specs.append)
    monkeypatch.setattr(
        "holdfast.serve.app.create_app", lambda backend, **_: backends.append(backend)
    )
    monkeypatch.setattr("holdfast.serve.server.run", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        cli.main(
            ["serve", "--port", "0", "--base", "mini", "--template-option", "enable_thinking=false"]
        )
    assert not end.value.code
    assert specs[0].options == backends[0].template.options == {"enable_thinking": False}
    assert specs[0].base == "mini"


def test_a_persona_is_named_by_its_file_alone_or_with_its_id(tmp_path: Path) -> None:
    assert load_persona("mini:upper-1").id == "upper-1"
    path = tmp_path / "guide.toml"
    path.write_text(
        '[[persona]]\nid = "guide"\ncategory = "pattern"\nprompt = "Be loud."\n'
        'probes = ["Hello?"]\njudge = { name = "case", to = "upper" }\n'
        'passes = ["HELLO."]\nfails = ["hello."]\n',
        encoding="utf-8",
    )
    assert load_persona(str(path)).id == load_persona(f"{path}:guide").id == "guide"
    with pytest.raises(PersonaError, match="no persona"):
        load_persona(f"{path}:other")


def test_the_command_prints_its_urls_answers_and_stops_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "holdfast", "serve", "--model", "mini", "--port", "0"]
    settings = os.environ | {"HOLDFAST_SERVE_KEY": "sesame", "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--control", "anchor"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=settings,
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            page = url.removesuffix("v1")
            with urllib.request.urlopen(page, timeout=120) as answer:
                assert answer.headers["content-type"].startswith("text/html")
            message = {"role": "user", "content": "Do you like tea?"}
            request = urllib.request.Request(
                f"{url}/chat/completions",
                json.dumps({"model": "mini", "messages": [message]}).encode(),
                {"content-type": "application/json", "authorization": "Bearer sesame"},
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                reply = json.load(answer)
            assert reply["holdfast"]["control"] == "anchor"
            assert reply["choices"][0]["message"]["content"]
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            log.seek(0)
            text = log.read()
        finally:
            process.kill()
            process.wait()
    assert "POST /v1/chat/completions 200" in text and f"in a browser is {page}." in text
    assert "tea" not in text and "sesame" not in text
    assert "Traceback" not in text


def test_a_character_card_is_served_in_one_command(tmp_path: Path) -> None:
    card = tmp_path / "ada.png"
    write_card(parse_card(json.dumps(V2).encode()), card)
    command = [sys.executable, "-m", "holdfast", "serve", "--model", "mini", "--port", "0"]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--card", str(card), "--control", "note:0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}/models", timeout=120) as answer:
                (model,) = json.load(answer)["data"]
            assert model["holdfast"] == {"control": "note:0", "persona": "ada"}
            message = {"role": "user", "content": "Who are you?"}
            request = urllib.request.Request(
                f"{url}/chat/completions",
                json.dumps({"model": "mini", "messages": [message], "max_tokens": 8}).encode(),
                {"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=120) as answer:
                reply = json.load(answer)
            assert reply["usage"]["prompt_tokens"] > 100
            assert 0 <= reply["holdfast"]["score"] <= 1
        finally:
            process.kill()
            process.wait()
