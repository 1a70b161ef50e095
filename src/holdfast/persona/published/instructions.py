"""IFEval's, IFBench's and Multi-IF's instructions as standing orders of a system prompt.

The published prompts ask for a text and for its form at once. Here the form is the system prompt,
in the authors' words, and the questions are open ones of ours: does the form last? Instructions
that only make sense with their own request are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from holdfast.core.errors import JudgeError, PersonaError
from holdfast.judge.content.instruction import MissingData, describe
from holdfast.persona.published.tables import FileRow, PersonaTables, as_id, parse_value, rows

PROBES = (
    "What should I look at when I buy a used bicycle?",
    "How do people spend a rainy Sunday?",
    "Tell me about a place that is worth a visit.",
    "What makes a good neighbour?",
)
"""Open questions, which any form can answer."""
OPENING = "Every reply of yours follows this, whatever you are asked."
NO_ORDER = (
    "combination:repeat_prompt",
    "detectable_format:constrained_response",
    "format:options",
    "ratio:overlap",
)
"""Instructions that belong to a request."""
_OF_A_REQUEST = ("custom:", "repeat:")
_IFEVAL: dict[str, dict[str, object]] = {
    "keywords:existence": {"keywords": ["river", "lantern"]},
    "keywords:frequency": {"keyword": "river", "frequency": 2, "relation": "at least"},
    "keywords:forbidden_words": {"forbidden_words": ["and"]},
    "keywords:letter_frequency": {"letter": "z", "let_frequency": 3, "let_relation": "at least"},
    "language:response_language": {"language": "de"},
    "length_constraints:number_sentences": {"num_sentences": 3, "relation": "less than"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_words": {"num_words": 40, "relation": "less than"},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": 2, "nth_paragraph": 2, "first_word": "however",
    },
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:number_bullet_lists": {"num_bullets": 3},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "detectable_format:multiple_sections": {"section_spliter": "SECTION", "num_sections": 2},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "startend:end_checker": {"end_phrase": "That is all."},
    "change_case:capital_word_frequency": {"capital_frequency": 3, "capital_relation": "at least"},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
    "startend:quotation": {},
}  # fmt: skip
_IFBENCH: dict[str, dict[str, object]] = {
    "count:word_count_range": {"min_words": 20, "max_words": 40},
    "count:unique_word_count": {"N": 20},
    "ratio:stop_words": {"percentage": 40},
    "ratio:sentence_type": {},
    "ratio:sentence_balance": {},
    "count:conjunctions": {"small_n": 3},
    "count:person_names": {"N": 3},
    "count:numbers": {"N": 3},
    "words:alphabet": {},
    "words:vowel": {},
    "words:consonants": {},
    "sentence:alliteration_increment": {},
    "words:palindrome": {},
    "count:punctuation": {},
    "format:parentheses": {},
    "format:quotes": {},
    "words:prime_lengths": {},
    "format:newline": {},
    "format:emoji": {},
    "ratio:sentence_words": {},
    "count:words_japanese": {"N": 5},
    "words:start_verb": {},
    "words:repeats": {"small_n": 2},
    "sentence:keyword": {"word": "river", "N": 2},
    "count:pronouns": {"N": 5},
    "words:odd_even_syllables": {},
    "words:last_first": {},
    "words:paragraph_last_first": {},
    "sentence:increment": {"small_n": 2},
    "words:no_consecutive": {},
    "format:line_indent": {},
    "format:quote_unquote": {},
    "format:list": {"sep": "-"},
    "format:thesis": {},
    "format:sub-bullets": {},
    "format:no_bullets_bullets": {},
    "count:keywords_multiple": {
        "keyword1": "river", "keyword2": "lamp", "keyword3": "stone", "keyword4": "bread",
        "keyword5": "rain",
    },
    "words:keywords_specific_position": {"keyword": "river", "n": 2, "m": 3},
    "words:words_position": {"keyword": "river"},
    "format:title_case": {},
    "format:output_template": {},
    "format:no_whitespace": {},
}  # fmt: skip
STANDING = {"ifeval": _IFEVAL, "ifbench": _IFBENCH}
"""The kinds of instruction that can be standing orders, with parameters that short replies meet."""


def standing_orders(name: str) -> PersonaTables:
    """A persona for each kind of instruction."""
    tables = PersonaTables()
    for id_, kwargs in STANDING[name].items():
        try:
            _keep(tables, as_id(id_), name, [id_], [kwargs], f"{name}, {id_}")
        except MissingData as missing:
            tables.skipped[str(missing)] += 1
    return tables


def read_instructions(path: Path) -> PersonaTables:
    """The lines of IFEval's or IFBench's JSONL: key, prompt, instruction_id_list and kwargs."""
    tables = PersonaTables()
    for where, row in rows(path, "IFEval or IFBench", ("key", "instruction_id_list", "kwargs")):
        _add(tables, as_id("line", row["key"]), "instructions", row, "", where)
    return tables


def read_multi_if(path: Path) -> PersonaTables:
    """The English dialogues of Multi-IF; a turn's instructions include those before it."""
    tables = PersonaTables()
    columns = ("key", "language", "turn_1_instruction_id_list", "turn_1_kwargs")
    for where, row in rows(path, "Multi-IF", columns):
        if str(row["language"]).strip().lower() != "english":
            # Their checkers for other languages are not those of IFEval.
            tables.skipped["not English"] += 1
            continue
        last = max((n for n in (1, 2, 3) if row.get(f"turn_{n}_instruction_id_list")), default=1)
        _add(tables, as_id("dialogue", row["key"]), "multi-turn", row, f"turn_{last}_", where)
    return tables


def _add(
    tables: PersonaTables, id_: str, category: str, row: FileRow, turn: str, where: str
) -> None:
    """Add the persona of a row, or count why there is none."""
    ids = parse_value(row[f"{turn}instruction_id_list"], where)
    items = parse_value(row.get(f"{turn}kwargs"), where)
    kwargs = [parse_value(one, where) for one in items] if isinstance(items, list) else None
    if not isinstance(ids, list) or kwargs is None or len(ids) != len(kwargs):
        raise PersonaError(f"{where}: instruction_id_list and kwargs are not lists of one length")
    if not all(isinstance(id_, str) for id_ in ids) or not all(
        isinstance(one, Mapping) for one in kwargs
    ):
        raise PersonaError(f"{where}: instruction_id_list is of texts, and kwargs of objects")
    if of_a_request := [one for one in ids if one in NO_ORDER or one.startswith(_OF_A_REQUEST)]:
        tables.skipped[f"belongs to its request: {of_a_request[0]}"] += 1
        return
    try:
        _keep(tables, id_, category, ids, kwargs, where)
    except MissingData as missing:
        tables.skipped[str(missing)] += 1
    except JudgeError as error:
        raise PersonaError(f"{where}: {error}") from None


def _keep(
    tables: PersonaTables,
    id_: str,
    category: str,
    ids: Sequence[str],
    kwargs: Sequence[Mapping[str, object]],
    where: str,
) -> None:
    """Add the persona that has these orders; the mean of their judges scores it."""
    orders = [describe(one, arguments) for one, arguments in zip(ids, kwargs, strict=True)]
    judges: list[dict[str, object]] = [
        {"name": "instruction", "id": one, "kwargs": {k: v for k, v in of.items() if v is not None}}
        for one, of in zip(ids, kwargs, strict=True)
    ]
    judge = judges[0] if len(judges) == 1 else {"name": "mean", "of": judges}
    tables.add(id_, category, " ".join([OPENING, *orders]), PROBES, judge, where)
