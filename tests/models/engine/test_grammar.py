"""A reply follows its grammar, whatever the model would say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import message
from holdfast.models.engine.grammar import GrammarError, Kind, compile_grammar
from holdfast.models.engine.shaping import Shaping
from holdfast.models.local.backend import LocalBackend
from serve.running import small

CAT = {
    "type": "object",
    "properties": {
        "name": {"enum": ["Tom", "Ada"]},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def backend() -> LocalBackend:
    return small()


def reply(backend: LocalBackend, kind: Kind, value: Any, seed: int = 0, **more: Any) -> str:
    request = backend.request(Ask((message("user", "Hi"),), seed))
    request = replace(request, shaping=Shaping(grammar=compile_grammar(kind, value), **more))
    sampling = Sampling(200, temperature=1.0, top_p=1.0)
    (result,) = backend.engine.generate([request], sampling, backend.ends)
    return backend.decode(result.ids)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_model_writes_what_the_schema_wants(backend: LocalBackend, seed: int) -> None:
    backend.ends = frozenset([backend.tokenizer.eos_token_id])
    cat = json.loads(reply(backend, "json", json.dumps(CAT), seed, min_p=0.01))
    assert cat.keys() == {"name", "age"} and cat["name"] in ("Tom", "Ada") and 0 <= cat["age"] <= 99


def test_expressions_and_choices_are_followed_to_their_end(backend: LocalBackend) -> None:
    backend.ends = frozenset([backend.tokenizer.eos_token_id])
    assert re.fullmatch(r"[a-c]{3}-\d\d", reply(backend, "regex", r"[a-c]{3}-\d\d"))
    assert reply(backend, "choice", ['a "b"', "naïve", "東"]) in ('a "b"', "naïve", "東")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [("json", "{", "^the schema is not valid JSON"), ("json", 3, "^a JSON schema is an object$"),
     ("json", {"type": "nonsense"}, "^Invalid type: nonsense$"),
     ("json", {"type": "string", "pattern": "("}, "^wrong regular expression: unclosed group$"),
     ("json", {"$ref": "http://elsewhere.example/schema.json"}, "not present"),
     ("regex", "(", "^wrong regular expression: unclosed group$"),
     ("regex", 3, "^a regular expression is a text$"), ("regex", "\ud83d", "half a character"),
     ("regex", "a" * 70_000, "shorten it"), ("choice", [], "at least one"),
     ("choice", [""], "at least one"), ("choice", [1], "are texts"), ("choice", 3, "are texts"),
     ("choice", "yes", "are texts"), ("choice", ["\ud83d"], "half a character")],
)  # fmt: skip
def test_what_is_no_grammar_is_refused_in_words(kind: Kind, value: Any, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        compile_grammar(kind, value)
