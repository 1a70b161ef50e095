"""The file of aliases, routes and keys: what it says, and what it cannot say."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from holdfast.core.errors import ServiceError
from holdfast.serve.tenants.config import read_tenants

PERSONA = """
[[persona]]
id = "pirate"
category = "character"
prompt = "You are a pirate."
probes = ["Who are you?"]
judge = { name = "contains", text = "arr" }
passes = ["arr"]
fails = ["no"]
"""
KEY = f'sha256 = "{hashlib.sha256(b"sesame").hexdigest()}"'


def write(folder: Path, text: str) -> Path:
    (folder / "pirate.toml").write_text(PERSONA, encoding="utf-8")
    path = folder / "tenants.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_personas_are_looked_for_beside_the_file_and_among_the_built_in_ones(
    tmp_path: Path,
) -> None:
    tenants = read_tenants(
        write(
            tmp_path,
            '[alias.guide]\npersona = "pirate.toml"\ncontrol = "reminder:1"\n'
            '[alias.named]\npersona = "pirate.toml:pirate"\n'
            '[alias.loud]\npersona = "mini:upper-1"\nlock = true\nmodel = "there"\n',
        )
    )
    personas = [alias.persona and alias.persona.id for alias in tenants.aliases.values()]
    assert personas == ["pirate", "pirate", "upper-1"]
    control = tenants.aliases["guide"].control
    assert control is not None and control.text == "reminder:1"
    assert (tenants.aliases["loud"].lock, tenants.aliases["loud"].model) == (True, "there")


def test_the_longest_route_counts_and_only_whole_names_do(tmp_path: Path) -> None:
    text = '[alias.a]\n[alias.b]\n[route."/bot"]\nalias = "a"\n[route."/bot/b"]\nalias = "b"\n'
    tenants = read_tenants(write(tmp_path, text))
    paths = ("/bot/v1/models", "/bot/b/v1/models", "/bots/v1/models", "/v1/models")
    assert [tenants.route_of(path) for path in paths] == ["/bot", "/bot/b", None, None]


def test_a_key_comes_from_a_digest_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_KEY", "open")
    text = f'[key.one]\n{KEY}\nrequests_per_minute = 3\n[key.two]\nenv = "BOT_KEY"\n'
    one, two = read_tenants(write(tmp_path, text)).keys
    assert (one.name, one.digest) == ("one", hashlib.sha256(b"sesame").digest())
    assert one.requests_per_minute == 3 and one.tokens_per_day is None
    assert two.digest == hashlib.sha256(b"open").digest()
    assert "digest" not in repr(one)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[alias.a]\npersonna = 'x'", "unknown field 'personna'"),
        ("[aliases.a]", "unknown field 'aliases'"),
        ("[alias.a]\npersona = 'nowhere.toml'", "alias a"),
        ("[alias.a]\ncontrol = 'magic'", "alias a"),
        ("[alias.a]\nlock = 'yes'", "lock must be true or false"),
        ("alias = 3", "a table for each"),
        ("[route.'/x']\nalias = 'a'", "there is no alias 'a'"),
        ("[alias.a]\n[route.'/v1']\nalias = 'a'", "server's own"),
        ("[alias.a]\n[route.'/api']\nalias = 'a'", "server's own"),
        ("[alias.a]\n[route.'x/../y']\nalias = 'a'", "write its name as in /guide"),
        ("[alias.'a b']", "write its name as in team-a"),
        ("[alias.a]\n[route.'/x']", "route /x needs the name"),
        ("[alias.a]\npersona = ''", "persona is empty"),
        ("[alias.a]\ncontrol = ''", "control is empty"),
        ("[alias.a]\nmodel = ''", "model is empty"),
        (f"[alias.a]\n[alias.b]\n[key.k]\n{KEY}\nalias = 'a'\nonly = ['b']", "none of those"),
        ("[key.a]\nenv = ''", "sha256 or env"),
        ("[key.a]", "sha256 or env"),
        ("[key.a]\nsha256 = 'x'", "64 digits"),
        ("[key.a]\nenv = 'HOLDFAST_NOT_THERE'", "no HOLDFAST_NOT_THERE"),
        (f"[key.a]\n{KEY}\n[key.b]\n{KEY}", "the same"),
        (f"[key.a]\n{KEY}\nrequests_per_minute = 0", "at least 1"),
        (f"[key.a]\n{KEY}\ntokens_per_day = true", "must be a whole number"),
        (f"[key.a]\n{KEY}\nonly = ['b']", "no alias 'b'"),
        (f"[key.a]\n{KEY}\nonly = []", "one at least"),
        (f"[alias.a]\npersona = '{'You sing. ' * 40}'", "alias a"),
        ("not toml", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ServiceError, match=r"tenants\.toml") as caught:
        read_tenants(write(tmp_path, text))
    assert sentence in str(caught.value)
