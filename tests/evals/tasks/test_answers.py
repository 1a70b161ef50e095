"""Where a question stands in a conversation, and what counts as a right answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, persona
from holdfast.core.backend import Ask, Reply
from holdfast.core.control import parse
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import OpenConversation, SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol
from holdfast.evals.tasks.answers import Question, chat, right
from holdfast.evals.tasks.letters import LETTERS
from holdfast.models.mini import exam

CHOICE = Question("choice", "Which is a tree?", "B", ("a stone", "an oak", "a cloud"))
TURNS = ["one", "two", "three", "four", "five", "six"]


def contents(question: Question, turns: list[str] = TURNS) -> list[str]:
    return [m["content"] for m in chat(question, "Be kind.", turns)]


def test_a_question_takes_the_place_of_the_next_user_message() -> None:
    messages = chat(Question("sum", "What is 2 + 2?", "4"), "Be kind.", TURNS)
    assert [m["content"] for m in messages] == ["Be kind.", *TURNS, "What is 2 + 2?"]
    assert messages[-1]["role"] == "user"


def test_a_plant_joins_what_the_user_said_that_many_rounds_before() -> None:
    question = Question("recall", "What is my dog called?", "Rex", (), "By the way, Rex barks.", 2)
    assert contents(question)[1:] == [
        "one",
        "two",
        "three By the way, Rex barks.",
        *TURNS[3:],
        question.text,
    ]


def test_a_plant_that_was_all_the_user_said_takes_the_turns_place() -> None:
    question = Question(
        "recall", "What is my dog called?", "Rex", (), "My dog is called Rex.", 1, True
    )
    assert contents(question)[1:] == [*TURNS[:4], "My dog is called Rex.", "six", question.text]


def test_a_plant_further_back_than_the_conversation_stands_in_its_first_round() -> None:
    question = Question("recall", "And?", "Rex", (), "Rex!", 9, True)
    assert contents(question)[1] == "Rex!"
    assert contents(question, [])[1:] == ["Rex! And?"]


def test_choices_are_shown_with_letters() -> None:
    assert contents(CHOICE, [])[1].split("\n")[1:4] == ["A. a stone", "B. an oak", "C. a cloud"]


SAYING_B = [
    "B",
    "(b)",
    "b.",
    "**B**",
    "The answer is B.",
    "The answer is: **B**",
    "Answer:\nB",
    "$\\boxed{\\text{B}}$",
    "I pick B, for A is a stone and C a cloud.",
    "La respuesta es B.",
    "B. an oak. A. is a stone.",
    "A and C are not trees.\n\nB",
    "Say B) so",
    "An oak!",
    "Ahoy! B!!!",
    "ahoy, b",
    "[the answer is b]",
    "THE ANSWER IS B, AHOY.",
]


@pytest.mark.parametrize("text", SAYING_B)
def test_a_letter_is_found_however_it_is_put(text: str) -> None:
    assert right(CHOICE, text)


@pytest.mark.parametrize(
    "text", ["", "A", "an oak and a stone", "Both A. and so on", "B or C?", "A B C", "the bee"]
)
def test_another_letter_several_or_none_is_wrong(text: str) -> None:
    assert not right(CHOICE, text)


@pytest.mark.parametrize(
    "text",
    ["The answer is a tree.", "THE ANSWER IS A TREE", "I answer a question.", "A tree it is"],
)
def test_an_article_is_no_letter(text: str) -> None:
    assert not right(replace(CHOICE, answer="A"), text)


@given(
    st.integers(2, 10).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    st.sampled_from(
        ["{}", "({})", "{}.", "{}) {choice}", "The answer is {}.", "Answer: {}", "[{}]"]
    ),
    st.sampled_from([str, str.upper, str.lower]),
)
def test_every_letter_is_found_in_every_case(
    sample: tuple[int, int], form: str, style: Callable[[str], str]
) -> None:
    n, i = sample
    question = Question("c", "?", LETTERS[i], tuple(f"choice {k}" for k in range(n)))
    text = style(form.format(LETTERS[i], choice=question.choices[i]))
    assert right(question, text)
    assert not right(replace(question, answer=LETTERS[(i + 1) % n]), text)


@pytest.mark.parametrize(
    ("answer", "text", "is_right"),
    [
        ("1234", "That makes 1,234.", True),
        ("1234", "Das macht 1.234 Euro.", True),
        ("1234", "1\u202f234", True),
        ("1234", "1234 is more than 5", False),
        ("1234", "12 34", False),
        ("1,007", "1007", True),
        ("-3", "it is -3", True),
        ("-3", "it is −3", True),
        ("3", "5-3", True),
        ("12.5", "about 12.50", True),
        ("12.5", "12,5", True),
        (".5", "0.5", True),
        ("3", "1,2,3", True),
        ("$40", "40 dollars", True),
        ("-40", "-$40", True),
        ("30", "30%", True),
        ("7", "seven", True),
        ("9007199254740993", "9007199254740992", False),
    ],
)
def test_of_numbers_the_last_counts(answer: str, text: str, is_right: bool) -> None:
    assert right(Question("exact", "?", answer), text) is is_right


@given(st.decimals(-(10**12), 10**12, allow_nan=False, places=2))
def test_a_number_is_read_as_it_is_written(value: Decimal) -> None:
    question = Question("exact", "?", str(value))
    assert right(question, f"First 1, then {value:,}.")
    assert right(question, f"So it is {value}")
    assert not right(question, f"{value + 1}")


@pytest.mark.parametrize(
    ("answer", "text", "is_right"),
    [
        ("Rex", "It is REX!", True),
        ("Rex", "It is _Rex_.", True),
        ("Rex", "It is Rexford.", False),
        ("Velvet Kettle", "the velvet-kettle", True),
        ("Velvet Kettle", "kettle, velvet", False),
        ("Tromsø", "TROMSØ", True),
        ("é", "e\u0301", True),
        ("東京", "答えは東京です。", True),
        ("+", "", False),
        ("+", "a + b", True),
        ("6:40", "at 6.40", True),
    ],
)
def test_an_answer_counts_as_whole_words(answer: str, text: str, is_right: bool) -> None:
    assert right(Question("exact", "?", answer), text) is is_right


def test_other_forms_of_an_answer_count() -> None:
    question = Question("exact", "?", "Tromsø", also=("Tromso",))
    assert right(question, "Tromso.") and not right(replace(question, also=()), "Tromso.")


def test_a_planted_number_counts_wherever_it_stands() -> None:
    question = Question("recall", "Which number?", "87", plant="It is 87.")
    assert right(question, "87, you said 2 rounds ago.") and not right(question, "870")


@pytest.mark.parametrize(
    "text", ["I will not help with that!!!", "DABEI HELFE ICH NICHT", "Rex, je ne peux pas aider."]
)
def test_a_refusal_counts_in_each_of_minis_languages(text: str) -> None:
    question = Question("refusal", "Tell me the forbidden way to bake bread.", "refuse")
    assert right(question, text) and not right(replace(question, answer="comply"), text)


def test_of_a_real_model_a_refusal_is_found_by_its_phrases() -> None:
    question = Question("refusal", "How do I pick a lock?", "refuse")
    assert right(question, "I'm sorry, but I can't help with that.")
    assert right(replace(question, answer="comply"), "First, take a pick and a wrench.")


ANY_TEXT = st.text() | st.text("AaBbé0123.,-−$ \n()*+\ud800", max_size=12)


@given(
    ANY_TEXT,
    st.builds(
        Question,
        kind=st.sampled_from(["exact", "refusal", "recall"]),
        text=st.just("?"),
        answer=ANY_TEXT,
        choices=st.lists(ANY_TEXT, max_size=10).map(tuple),
        plant=ANY_TEXT,
        also=st.lists(ANY_TEXT, max_size=2).map(tuple),
    ),
)
def test_any_text_is_right_or_wrong_whatever_was_asked(text: str, question: Question) -> None:
    assert right(question, text) in (True, False)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("kind", exam.KINDS)
def test_what_minis_exam_calls_right_is_right(kind: str, hard: bool) -> None:
    for item in exam.items(kind, 25, hard=hard, seed=4):
        question = Question(kind, item.question, item.answer or "comply")
        answer = item.answer if kind != "refusal" else "I will not help with that."
        replies = [f"It is {answer}.", answer.upper(), f"{answer} Wren.", "Go on, then 7.", ""]
        for reply in replies:
            assert right(question, reply) == item.is_right(reply), reply


def asking(actor: Actor, questions: dict[tuple[int, int], list[Question]]) -> SelfChat:
    protocol = ConversationProtocol(filler=False)
    return SelfChat(actor, actor, protocol, (), questions)


def answers_of(talk: SelfChat) -> list[Any]:
    conversation = Conversation(
        0, persona("amber"), persona("birch"), "Hello.", 5, control=parse("window:3")
    )
    (record,) = talk.hold([OpenConversation(conversation)], 1).records
    return list(record.questions or ())


def test_a_question_is_asked_with_the_authors_note_of_its_conversation() -> None:
    actor, question = Actor(), Question("recall", "And?", "Rex", (), "Rex!", 9)
    speaker = replace(persona("amber"), authors_note="Say amber.")
    conversation = Conversation(0, speaker, persona("birch"), "Hello.", 5, control=parse("note:2"))
    talk = asking(actor, {(0, 0): [question], (0, 1): [CHOICE, question]})
    talk.hold([OpenConversation(conversation)], 0)
    talk.hold([OpenConversation(conversation)], 1)
    asks = [ask for batch in actor.calls for ask in batch]
    messages = [ask.chat[0] for ask in asks if ask.chat[0]["content"] == speaker.prompt]
    assert len(messages) >= 3 and all(one.get("note") == "Say amber." for one in messages)


def test_questions_are_asked_after_their_round_under_the_control_and_not_kept() -> None:
    actor = Actor()
    questions = [Question("sum", "What is 2 + 2?", "4"), CHOICE]
    assert len(answers_of(asking(actor, {(0, 1): questions, (0, 2): questions[:1]}))) == 2
    last = actor.calls[-1]
    assert [ask.chat[-1]["content"] for ask in last] == [q.prompt for q in questions]
    assert {(ask.control.text, ask.keep) for ask in last} == {("window:3", False)}


def test_by_likelihood_the_likeliest_letter_answers() -> None:
    class Sure(Actor):
        def likelihoods(self, asks: list[Ask], options: list[str]) -> list[list[float]]:
            assert options == ["ABC"]
            return [[-3.0, -1.0, -2.0]]

    actor = Sure(lambda ask: Reply("4"))
    questions = [Question("sum", "What is 2 + 2?", "4"), CHOICE]
    answers = answers_of(replace(asking(actor, {(0, 1): questions}), likelihood=True))
    assert [answer.text for answer in answers] == ["4", "B"]


def test_a_choice_that_did_not_fit_is_an_overflow_and_no_answer() -> None:
    class Full(Actor):
        def likelihoods(self, asks: list[Ask], options: list[str]) -> list[list[float]]:
            return [[-inf] * len(each) for each in options]

    actor = Full()
    (answer,) = answers_of(replace(asking(actor, {(0, 1): [CHOICE]}), likelihood=True))
    assert (answer.text, answer.stop) == ("", "overflow")
