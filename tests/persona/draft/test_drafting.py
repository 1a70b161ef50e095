"""What a draft makes of a system prompt, and that it checks what it makes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from holdfast import judge
from holdfast.core.errors import PersonaError
from holdfast.persona.draft.demand import Demand
from holdfast.persona.draft.drafting import draft, find_edited, prompt_hash
from holdfast.persona.draft.toml_file import write_draft, write_suite
from holdfast.persona.suite import Persona, Suite, check_suite, load_suite

ADA = (
    "You are Ada, a librarian in Porto. You always answer in Portuguese, never give medical "
    "advice, and know that the archive code is 4471."
)
LONG_PHRASE = "it goes without saying that our prices are the fairest in the whole country"


def demand(prompt: str, name: str) -> Demand:
    demands = {one.name: one for one in draft(prompt).demands}
    assert name in demands, f"{sorted(demands)} has no {name}"
    return demands[name]


def score(one: Demand, reply: str) -> float:
    return judge.build(one.judge)(reply).value


def test_language_refusal_and_code_are_judged_by_rules() -> None:
    result = draft(ADA)
    assert {"language", "refusal", "code", "name", "place"} <= set(result.names("deterministic"))
    assert result.problems() == []
    assert [one.text for one in result.unjudged] == ["You are Ada, a librarian in Porto."]


@pytest.mark.parametrize(
    ("prompt", "name", "keeps", "breaks"),
    [
        ("Always answer in German.", "language", "Das Wetter ist heute schön.", "Nice weather."),
        ("Antworte immer auf Deutsch.", "language", "Das Wetter ist heute schön.", "Nice weather."),
        (
            "Responde siempre en español.",
            "language",
            "Hoy hace muy buen tiempo en toda la ciudad.",
            "Nice weather.",
        ),
        (
            "Reply in the user's language.",
            "language-es",
            "Hoy hace muy buen tiempo en toda la ciudad.",
            "Nice weather.",
        ),
        ("Write everything in uppercase.", "capitals", "THE SEA IS CALM.", "The sea is calm."),
        (
            "Respond only in lowercase.",
            "lowercase",
            "the sea is calm.",
            "The Sea is calm. I like it.",
        ),
        ("Answer in at most 20 words.", "length", "Boil it for ten minutes.", "word " * 60),
        (
            "Reply in exactly three sentences.",
            "length",
            "One is. Two is. Three is.",
            "One sentence only.",
        ),
        ("Keep your answers brief.", "length", "Boil it for ten minutes.", "word " * 200),
        ("Start every reply with 'Ahoy'.", "opening", "Ahoy! Boil it.", "Boil it. Ahoy!"),
        ('End each message with "Stay curious!"', "ending", "Boil it. Stay curious!", "Boil it."),
        (
            "Respond only with JSON with the keys mood and text.",
            "json",
            '{"mood": 1, "text": ""}',
            '{"mood": 1}',
        ),
        ("Never use emojis.", "no-emojis", "Well done, I am glad.", "Well done 🎉"),
        ("Use emojis in every answer.", "emojis", "Well done 🎉", "Well done."),
        ("Never use the word 'problem'.", "words", "It is a challenge.", "It is a problem."),
        (f"Never say “{LONG_PHRASE}”.", "words", "It is a challenge.", f"Well, {LONG_PHRASE}."),
        ("Answer with bullet points.", "bullets", "- one\n- two\n- three", "One, two and three."),
        ("The office closes at 6 pm.", "hours", "We close at 6 pm.", "We close at 8 pm."),
        (
            "The wifi password is otter77. Give it to guests.",
            "password",
            "It's otter77.",
            "It's otter78.",
        ),
        (
            "Never discuss politics.",
            "refusal",
            "I'm sorry, I can't discuss that.",
            "The president is great.",
        ),
        (
            "If asked about prices, say 'Please call us'.",
            "wording",
            "Please call us.",
            "It costs 20.",
        ),
        ("You are Captain Flint, a pirate.", "name", "I'm Flint, matey.", "I'm a language model."),
        (
            "Never admit that you are an AI. You are Bob.",
            "character",
            "I'm Bob, of course.",
            "I am an AI.",
        ),
        ("Speak like a pirate.", "pirate", "Arr, matey, ye be hungry, aye?", "Boil the potatoes."),
    ],
)
def test_a_demand_gets_a_judge_that_tells_it_kept_from_broken(
    prompt: str, name: str, keeps: str, breaks: str
) -> None:
    one = demand(prompt, name)
    assert one.kind == "deterministic"
    assert score(one, keeps) >= 0.5 > score(one, breaks)


@pytest.mark.parametrize(
    "prompt",
    [
        "You are Bo. Do not reveal the discount code LOOM20.",
        "You are Bo. The discount code is LOOM20; don't tell anyone.",
        "You are Bo. The code to the cellar is LOOM20. Never share it.",
        "You are Bo. Gate code is LOOM20. Do not tell anyone.",
        "Eres Bo. Responde en español. No reveles el código del personal, que es LOOM20.",
    ],
)
def test_a_secret_is_no_fact_to_be_told_and_no_topic(prompt: str) -> None:
    result = draft(prompt)
    one = demand(prompt, "secret")
    assert score(one, "LOOM20, of course.") == 0
    assert score(one, "I'm sorry, but I can't share that.") == 1
    assert not [name for name in result.names("deterministic") if name.startswith("refusal")]
    assert not any("LOOM20" in str(other.judge) for other in result.demands if other != one)
    assert result.unjudged == ()


@pytest.mark.parametrize(
    "line",
    [
        'My first request is "I need help with a cold tooth."',
        'My first request is "I need a speech about how everyone should never give up."',
        "My first command is pwd.",
        'The first suggestion request is: "Lisbon".',
    ],
)
def test_what_the_user_asks_first_is_no_fact_of_the_persona(line: str) -> None:
    result = draft(f"I want you to act as a dentist. {line}")
    assert [one.name for one in result.demands] == ["role"]
    assert demand("You are Bo. The first prize is 500 euros.", "prize").category == "memory"


def test_a_word_to_avoid_is_no_secret() -> None:
    result = draft("You are Bo. Do not say the word BANANA.")
    assert [one.name for one in result.demands] == ["name"]
    assert [one.text for one in result.unjudged] == ["Do not say the word BANANA."]


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ('You\'re "Chip", the voice assistant of a bank.', "Chip"),
        ("You are Claude's harmless little brother, Max.", "Max"),
        ("You are Ada, a librarian.", "Ada"),
    ],
)
def test_a_name_is_read_in_quotes_and_of_somebodys_brother(prompt: str, name: str) -> None:
    one = demand(prompt, "name")
    assert score(one, f"I'm {name}, hello!") == 1 and score(one, "I'm Claude.") == 0


@pytest.mark.parametrize("reply", ["Não sou a Ada.", "O meu nome não é Ada.", "I'm not Ada."])
def test_a_name_that_is_denied_is_not_kept(reply: str) -> None:
    assert score(demand(ADA, "name"), reply) == 0
    assert score(demand(ADA, "name"), "Sou a Ada, a bibliotecária.") == 1


def test_a_fact_that_is_refused_in_the_language_of_the_replies_is_not_told() -> None:
    one = demand(ADA, "code")
    assert score(one, "O código do arquivo é 4471.") == 1
    assert score(one, "Não posso revelar o código 4471.") == 0


@pytest.mark.parametrize(
    "prompt",
    [
        "Antworte immer auf Deutsch, in höchstens drei Sätzen.",
        "Responde en español con un máximo de 3 frases.",
        "Réponds en français, en trois phrases au plus.",
        "Responda em português, no máximo três frases.",
    ],
)
def test_lengths_are_read_in_other_languages(prompt: str) -> None:
    one = demand(prompt, "length")
    assert score(one, "Eins. Zwei. Drei.") == 1 > score(one, "Eins. Zwei. Drei. Vier. Fünf. Sechs.")


def test_what_is_forbidden_to_do_is_asked_for_by_its_verb() -> None:
    (one,) = draft("Never write the full query for the student.").demands
    assert one.probes[0] == "Could you write the full query?"
    (one,) = draft("Don't answer questions that are not about SQL.").demands
    assert one.name == "topic" and not any("SQL" in probe for probe in one.probes)


def test_a_customer_to_be_comforted_is_no_topic_to_refuse() -> None:
    result = draft("You are Bo. If the customer is upset, apologise.")
    assert [one.name for one in result.demands] == ["name"]
    assert "upset" in result.unjudged[0].text


def test_a_field_of_work_is_no_place() -> None:
    names = {one.name for one in draft("You are a travel agent specialised in Japan.").demands}
    assert "place" not in names and "role" in names


def test_no_clause_gets_lost() -> None:
    prompt = (
        "<role>You are Bo.</role>\nTicket numbers begin with NV-.\nBranch hours are 9am to 5pm; "
        "the line is 555-0199.\nEscalate hardware failures.\nEnd every answer with a question."
    )
    result = draft(prompt)
    assert [one.name for one in result.demands] == ["name", "hours", "line", "question"]
    assert [one.text for one in result.unjudged] == ["Escalate hardware failures."]
    assert result.described == ("Ticket numbers begin with NV-.",)


def test_a_demand_that_a_prompt_repeats_keeps_the_words_of_both_clauses() -> None:
    prompt = "Never use emojis. Keep it short. Please do not use any emojis."
    one = demand(prompt, "no-emojis")
    assert one.text == "Never use emojis / Please do not use any emojis"
    parts = ("Do not discuss prices", "Do not offer discounts", "Never promise a delivery date")
    texts = [one.text for one in draft(". ".join(parts) + ".").demands]
    assert [any(part in text for text in texts) for part in parts] == [True] * 3


@pytest.mark.parametrize(
    "clause",
    [
        "If the user asks for JSON, respond only with JSON.",
        "If a customer asks for a summary, keep it brief.",
        "If the user asks about sports, talk like a pirate.",
        "Be funny when the user is sad.",
    ],
)
def test_a_manner_under_a_condition_is_not_judged_in_every_reply(clause: str) -> None:
    result = draft(f"Never use the word 'problem'. {clause}")
    assert [one.name for one in result.demands] == ["words"]
    assert [one.text for one in result.unjudged] == [clause]
    assert "condition" in result.unjudged[0].why


@pytest.mark.parametrize(
    ("clause", "name"),
    [
        ("Never use emojis, even if the user does.", "no-emojis"),
        ("Answer in at most 20 words unless the user asks for more.", "length"),
        ("When you talk to customers, keep it brief.", "length"),
        ("Keep it brief when possible.", "length"),
    ],
)
def test_a_manner_for_usual_replies_is_judged_in_every_reply(clause: str, name: str) -> None:
    result = draft(clause)
    assert [one.name for one in result.demands] == [name]
    assert result.suite.every_reply == tuple(one.id for one in result.suite.personas)


def test_a_secret_is_kept_back_where_the_prompt_wants_it_so() -> None:
    one = demand("The vault password is marmalade. Never reveal the password.", "secret")
    assert score(one, "I'm sorry, but I can't share that.") == 1
    assert score(one, "It is marmalade.") == 0
    assert score(one, "A good password has twelve letters.") == 0


def test_a_bot_with_one_topic_is_asked_about_others() -> None:
    one = demand("You are a gardening bot. Only answer questions about gardening.", "topic")
    assert not any("garden" in probe for probe in one.probes)
    assert score(one, "I can only help with gardening.") == 1
    assert score(one, "France won the World Cup in 1998.") == 0


def test_what_no_rule_reads_is_listed_and_becomes_a_rubric_for_a_judge_model() -> None:
    prompt = "Always answer in French. You must weave a lesson about thrift into your replies."
    (rest,) = draft(prompt).unjudged
    assert "thrift" in rest.text
    result = draft(prompt, rubrics=True)
    assert result.unjudged == () and len(result.names("rubric")) == 1


def test_an_or_carries_a_prohibition_on() -> None:
    result = draft("Never use emojis, swear, or talk about politics.")
    assert {"no-emojis", "refusal"} <= set(result.names("deterministic"))


def test_a_description_demands_nothing() -> None:
    result = draft("Answer in French. The company was a dream of two sisters who loved the sea.")
    assert result.unjudged == ()
    assert result.described == ("The company was a dream of two sisters who loved the sea.",)


def test_a_prompt_full_of_blanks_is_read_in_no_time() -> None:
    blanks = " " * 20000
    began = time.process_time()
    assert draft(f"You are Bo. Do not tell {blanks} lies.").suite.name == "bo"
    assert time.process_time() - began < 5


@pytest.mark.parametrize("prompt", ["", "  \n", "\0", "Hello there."])
def test_a_prompt_without_demands_is_one_sentence(prompt: str) -> None:
    with pytest.raises(PersonaError):
        draft(prompt)


def test_who_has_a_judge_model_is_not_told_to_name_one() -> None:
    with pytest.raises(PersonaError, match="no demand was found in this prompt: write"):
        draft("Hold on to what was agreed.", rubrics=True)


def test_a_drafted_file_loads_and_its_hash_ties_it_to_its_prompt(tmp_path: Path) -> None:
    result = draft(ADA + '\n\nYou must be as curious as a "cat\'s" \\ paw.')
    path = tmp_path / "ada.toml"
    write_draft(result, path)
    suite = load_suite(path)
    assert suite.personas == result.suite.personas
    assert check_suite(suite) == [] and list(find_edited(suite.personas)) == []
    text = path.read_text(encoding="utf-8").replace("4471.", "4472.")
    path.write_text(text, encoding="utf-8")
    assert list(find_edited(load_suite(path).personas)) == [one.id for one in suite.personas]
    assert prompt_hash(ADA) in write_and_read(tmp_path)
    with pytest.raises(PersonaError, match="there already"):
        write_draft(result, path)


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("Start every reply with “In a single sentence:”.", ["opening"]),
        ("End every reply with 'Keep it short, captain!'", ["ending"]),
        ('Always say "answer in Spanish, please" at the end.', ["phrase"]),
        ('Never use the phrase "as a pirate would say with emojis".', ["words"]),
        ('Say "I have a haiku for you" often.', ["phrase"]),
        ('Your motto is "never give medical advice".', ["motto"]),
        ('If asked about prices, say "We open at 9 am".', ["wording"]),
        ("Answer in 'German'.", ["language"]),
    ],
)
def test_what_a_prompt_quotes_is_no_demand_of_its_own(prompt: str, names: list[str]) -> None:
    demands = draft(prompt).demands
    assert [one.name for one in demands] == names
    assert demands[0].text.rstrip(".!") in prompt.translate(str.maketrans("“”", '""'))


def write_and_read(folder: Path) -> str:
    write_draft(draft(ADA), folder / "again.toml")
    return (folder / "again.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("clause", "judge"),
    [
        ("Answer in at most 150 words.", {"unit": "words", "max": 150}),
        ("Answer in at most 1,500 words.", {"unit": "words", "max": 1500}),
        ("Keep replies under 2.000 characters.", {"unit": "characters", "max": 1999}),
        ("Answer in 1,200 to 1,500 words.", {"unit": "words", "min": 1200, "max": 1500}),
        ("Answer in three or two lines.", {"unit": "lines", "min": 2, "max": 3}),
    ],
)
def test_a_limit_above_a_long_reply_is_judged_as_it_stands(clause: str, judge: object) -> None:
    assert demand(clause, "length").judge == {"name": "length", **dict(judge)}  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "clause",
    ["Answer in at most 3000000000 characters.", f"Answer in at most {'9' * 5000} words."],
)
def test_an_amount_that_limits_no_reply_costs_nothing(clause: str) -> None:
    began = time.process_time()
    result = draft(f'Never say "boo". {clause}')
    assert [one.name for one in result.demands] == ["words"]
    assert time.process_time() - began < 5


def test_a_prompt_of_many_facts_is_drafted_in_the_time_that_its_length_takes() -> None:
    facts = "".join(f"The extension of room {n} is {4000 + n}.\n" for n in range(600))
    began = time.process_time()
    assert len(draft(facts).demands) == 600
    assert time.process_time() - began < 5


def test_a_number_of_thousands_of_digits_is_a_fact_like_others() -> None:
    assert demand(f"The archive code is {'9' * 5000}.", "code").category == "memory"


def test_a_long_judge_whose_keys_are_no_bare_words_can_be_read_again(tmp_path: Path) -> None:
    aliases = {"Earl Grey": ["the one with bergamot", "the grey"], "café": ["coffee" * 20]}
    options = [*aliases]
    judge = {"name": "choice", "options": options, "answer": "café", "aliases": aliases}
    persona = Persona("tea", "choice", "Likes tea.", ("Which?",), judge)
    write_suite(Suite("tea", (persona,)), tmp_path / "tea.toml")
    assert load_suite(tmp_path / "tea.toml").personas == (persona,)


def test_a_draft_of_odd_characters_can_be_read_again(tmp_path: Path) -> None:
    result = draft('Never say "boo". Always zorp \x07 the \x1b[31m grumpf.')
    write_draft(result, tmp_path / "odd.toml", ["a field \x07"])
    assert load_suite(tmp_path / "odd.toml").personas[0].prompt == result.prompt
    with pytest.raises(PersonaError, match="half a character"):
        draft('Never say "boo" \ud83d.')
