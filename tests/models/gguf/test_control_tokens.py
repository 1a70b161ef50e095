"""Control tokens of a GGUF file are found in chats, whatever letters their names have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
from transformers import LlamaConfig, Qwen2Config

from holdfast.models.local.load import load
from models.test_dense_copy import cache  # noqa: F401
from tiny_gguf import random_model, write_family
from tiny_models import GROUPED

pytestmark = pytest.mark.usefixtures("cache")
# As DeepSeek has them: its turns are control tokens, its thoughts are not.
NAMES = {2: "<｜end▁of▁sentence｜>", 3: "<｜User｜>", 5: "<｜Assistant｜>", 6: "<｜think｜>"}
END, USER, ASSISTANT, _ = NAMES.values()
TEMPLATE = (
    f"{{% for m in messages %}}{{% if m.role == 'user' %}}{USER}{{{{ m.content }}}}"
    f"{{% elif m.role == 'assistant' %}}{ASSISTANT}{{{{ m.content }}}}{END}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)


@pytest.mark.parametrize("kind", [1, 3])
@pytest.mark.parametrize(("family", "config"), [("llama", LlamaConfig), ("qwen2", Qwen2Config)])
def test_names_beyond_the_byte_level_alphabet_are_tokens(
    tmp_path: Path, family: str, config: Any, kind: int
) -> None:
    network = random_model(config(**GROUPED))
    file = write_family(
        tmp_path / "tiny.gguf",
        network,
        family,
        tokens=NAMES,
        kinds={2: kind, 6: 4},
        template=TEMPLATE,
    )
    for model in (load(str(file)), load(str(file))):  # read from the file, and from its copy
        own: Any = model.tokenizer
        chat = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "No."}]
        ids = own.apply_chat_template(chat, return_dict=False)
        assert [i for i in ids if i in NAMES] == [3, 5, 2]
        assert own.decode(ids) == "<｜User｜>Tea?<｜Assistant｜>No.<｜end▁of▁sentence｜>"
        assert own.decode(ids, skip_special_tokens=True) == "Tea?No."
        assert own.encode("<｜think｜>") == [6] and own.decode([6], skip_special_tokens=True)
        assert own.eos_token_id == 2 and 2 in model.ends
        assert {i: name for name, i in own.get_vocab().items() if i in NAMES} == NAMES


def test_in_a_file_without_types_an_end_is_no_token_beyond_the_vocabulary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_token_types", lambda *given: None)
    network = random_model(LlamaConfig(**GROUPED))
    model = load(str(write_family(tmp_path / "tiny.gguf", network, "llama", tokens={2: END})))
    own: Any = model.tokenizer
    assert own.encode(END) == [2] and 2 in model.ends
    assert max(model.ends) < GROUPED["vocab_size"]


def test_without_such_names_the_tokenizer_stays_what_it_is(tmp_path: Path) -> None:
    network = random_model(LlamaConfig(**GROUPED))
    plain = load(str(write_family(tmp_path / "tiny.gguf", network, "llama"))).tokenizer
    assert plain.encode("<|im_end|>") == [4]
