"""Language, sentiment, syllables and readability."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.judge.language import LANGUAGES, grade
from holdfast.judge.syllable import syllable_count

from .specs import AI, PLAIN, REFUSAL


def score(text: str, /, **spec: object) -> float:
    return judge.build(spec)(text).value


SHORT = [
    ("en", "Hello, my name is Bob."),
    ("en", "I like tea."),
    ("fr", "J'aime le thé."),
    ("fr", "Bien sûr, je peux vous aider."),
    ("es", "Me gusta el té."),
    ("es", "Por supuesto, puedo ayudarte."),
    ("de", "Ich mag Tee."),
    ("de", "Natürlich kann ich dir helfen."),
    ("it", "Il museo apre alle nove."),
    ("pt", "Eu gosto de chá."),
    ("nl", "Ik hou van thee."),
    ("sv", "Jag gillar te."),
    ("pl", "Cześć, mam na imię Jan."),
    ("tr", "Merhaba, benim adım Ali."),
    ("la", "Gallia est omnis divisa in partes tres."),
    ("ru", "Привет, меня зовут Иван."),
    ("el", "Γεια σου, με λένε Νίκο."),
    ("ja", "こんにちは、私の名前はボブです。"),
    ("zh", "你好，我叫小明，我喜欢喝茶。"),
    ("ko", "안녕하세요, 제 이름은 밥입니다."),
    ("ar", "مرحبا، اسمي علي."),
    ("hi", "नमस्ते, मेरा नाम राम है।"),
]


@pytest.mark.parametrize(("code", "text"), SHORT)
def test_a_short_sentence_is_known_for_its_language(code: str, text: str) -> None:
    assert code in LANGUAGES
    assert score(text, name="language", to=code) > 0.5
    other = "fr" if code != "fr" else "es"
    assert score(text, name="language", to=other) < 0.4


@pytest.mark.parametrize(
    "text", [PLAIN, AI, REFUSAL, "Bonjour! As an AI, I can only speak English."]
)
def test_english_is_not_french(text: str) -> None:
    assert score(text, name="language", to="fr") < 0.05


def test_half_a_reply_in_another_language_costs_half() -> None:
    half = (
        "Le musée est ouvert tous les jours à neuf heures. "
        "The museum is open every day at nine in the morning."
    )
    assert 0.3 < score(half, name="language", to="fr") < 0.7


def test_markup_and_code_points_do_not_change_a_language() -> None:
    assert score("**Bonjour** mon ami, comment vas-tu ? 🙂", name="language", to="fr") > 0.9


def test_too_few_words_are_no_evidence() -> None:
    assert score("Oui.", name="language", to="fr", min_words=3) == 0.0


def test_sentiment_is_the_mean_over_sentences() -> None:
    happy = "I am so happy! What a wonderful, joyful day! I love it!"
    sad = "I am so sad. Everything is terrible and hopeless. I hate this awful rain."
    assert score(happy, name="sentiment", to="positive") > 0.5
    assert score(sad, name="sentiment", to="negative") > 0.5
    assert score(happy, name="sentiment", to="negative") == 0.0
    assert score("The table has four legs.", name="sentiment", to="neutral") == 1.0
    assert score(happy, name="sentiment", to="neutral") < 0.5


def test_a_long_plain_answer_is_not_joyful() -> None:
    text = "You could visit the museum. The bus stops there. " * 10 + "It is a nice place."
    assert score(text, name="sentiment", to="positive") < 0.2


@pytest.mark.parametrize(
    ("word", "count"),
    [("sea", 1), ("water", 2), ("beautiful", 3), ("the", 1), ("don't", 1), ("makes", 1),
     ("walked", 1), ("wanted", 2), ("hugged", 1), ("rubies", 2), ("strolling", 2), ("houses", 2),
     ("classically", 3), ("kindness", 2), ("captain’s", 2), ("boss", 1),
     ("table", 2), ("re-enter", 3), ("hmm", 1), ("42", 1)],
)  # fmt: skip
def test_syllables_are_counted(word: str, count: int) -> None:
    assert syllable_count(word) == count


def test_words_of_one_syllable() -> None:
    assert score("I sit on the sand and look at the sea.", name="syllables", max=1) == 1.0
    assert score(PLAIN, name="syllables", max=1) < 0.75


def test_a_haiku_has_its_pattern() -> None:
    haiku = "An old silent pond\nA frog jumps into the pond\nSplash! Silence again"
    assert score(haiku, name="syllables", pattern=[5, 7, 5]) == 1.0
    assert score(haiku.replace("old ", ""), name="syllables", pattern=[5, 7, 5]) == pytest.approx(
        2.5 / 3
    )
    assert score(PLAIN, name="syllables", pattern=[5, 7, 5]) == 0.0


def test_syllables_of_lines_and_replies() -> None:
    assert score("the cat sat\nwater", name="syllables", per="line", exactly=3) == 0.5
    assert score("the cat sat", name="syllables", per="reply", exactly=3) == 1.0


def test_readability_follows_flesch_and_kincaid() -> None:
    text = "The cat sat on the mat. The dog ran."
    assert grade(text) == pytest.approx(0.39 * 9 / 2 + 11.8 * 9 / 9 - 15.59)
    assert grade("...") is None


def test_simple_words_are_simple_and_hard_ones_hard() -> None:
    simple = "I see a cat. The cat is big. It sat on a mat."
    hard = (
        "Notwithstanding considerable methodological heterogeneity, contemporary epistemological "
        "investigations demonstrate remarkable interdisciplinary convergence."
    )
    assert score(simple, name="readability", grade_max=3) == 1.0
    assert score(hard, name="readability", grade_max=3) == 0.0
    assert score(hard, name="readability", grade_min=14) == 1.0
    assert score(simple, name="readability", grade_min=14) == 0.0
    assert score("Yes.", name="readability", grade_max=3) == 0.0


def test_a_few_words_that_could_be_several_languages_compete_with_english_only() -> None:
    assert score("Niente olio! Acqua. Mescolare. Basta.", name="language", to="it") > 0.9
    assert score("Agua, gorra, mapa, bocadillo.", name="language", to="es") > 0.9
    assert score("Mi piace coltivare le rose nel giardino.", name="language", to="la") < 0.1


def test_function_words_of_another_language_decide() -> None:
    text = "For the long ride I recommend a copy of Le Comte de Monte-Cristo by Dumas."
    assert score(text, name="language", to="fr") == 0.0


def test_a_share_of_short_words_is_rescaled_from_its_floor() -> None:
    assert score(PLAIN, name="syllables", max=1, floor=0.65) < 0.3


def test_one_or_two_words_tell_a_language_only_where_they_are_certain() -> None:
    french = judge.build({"name": "language", "to": "fr"})
    for text in ("Très bien.", "Parfaitement.", "Ça va !"):
        assert french(text).value > 0.8
    for text in ("Excellent!", "Very well.", "Muy bien.", "A satellite.", "!"):
        assert french(text).value == 0.0
