"""Clauses are compared in meaning with examples."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError, PersonaError
from holdfast.core.extras import install
from holdfast.judge.content import embedding
from holdfast.judge.content.alike import clauses
from holdfast.persona.suite import Suite, check_suite, load_suite, select

KEEPER = {
    "name": "alike",
    "good": ["I have never heard of it.", "The lamp needs oil and the ships need my light."],
    "bad": ["GPS works by signals from satellites.", "Television shows moving pictures at home."],
    "topics": ["GPS", "Television"],
}


def test_a_paraphrased_leak_behind_a_disclaimer_fails() -> None:
    scorer = judge.build(KEEPER)
    assert scorer("I never heard of it. The lamp wants trimming, friend.").value >= 0.5
    assert scorer("Television? I do not know it, sir.").value >= 0.5
    leak = "I know nothing of GPS, but craft in orbit send signals and tell a ship where it is."
    value, why = scorer(leak)
    assert value < 0.5 and "is like “GPS works" in why


def test_clauses_are_cut_at_joints_and_short_ones_joined() -> None:
    text = "I don't know much, but planes are safer: they glide. Well, yes."
    assert clauses(text) == ["I don't know much", "but planes are safer they glide.", "Well, yes."]


def test_vectors_are_of_unit_length_and_the_same_alone_and_together() -> None:
    together = embedding.embed(["A ship at sea.", "A boat on the water.", "Tax law."])
    assert together.shape == (3, 384)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0, abs=1e-4)
    assert together[0] @ together[1] > together[0] @ together[2] + 0.3
    assert (together[2] == embedding.embed(["Tax law."])[0]).all()


def test_the_encoder_agrees_with_transformers() -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoTokenizer, BertModel

    folder = embedding._folder()
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokens = AutoTokenizer.from_pretrained(folder)("The lamp needs oil.", return_tensors="pt")
    with torch.no_grad():
        mean = model(**tokens).last_hidden_state[0].mean(dim=0)
    expected = (mean / mean.norm()).numpy()
    assert embedding.embed(["The lamp needs oil."])[0] == pytest.approx(expected, abs=2e-5)


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package")
    embedding._encoder.cache_clear()
    monkeypatch.setattr(embedding, "_CACHE", {})
    with pytest.raises(JudgeError, match=re.escape(install("judges"))):
        judge.build(KEEPER)("I have never heard of such a thing.")
    embedding._encoder.cache_clear()


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHA256", "0" * 64)
    with pytest.raises(JudgeError, match="is not the file that judge “alike” was made with"):
        embedding._folder()


def test_building_the_judge_needs_no_model_and_scoring_no_torch() -> None:
    code = (
        "import sys; from holdfast import judge;"
        "j = judge.build({'name': 'alike', 'good': ['Hello there.'], 'bad': ['Go away now.']});"
        "assert 'tokenizers' not in sys.modules; j('Hello my friend.');"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_suite_names_the_personas_that_need_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "PACKAGE", "no_such_package")
    core = load_suite("core")
    keepers = select(core, ["lighthouse-keeper-1912", "captain-saltbeard", "polly-aged-six"])
    with pytest.raises(PersonaError) as error:
        check_suite(Suite("some", keepers))
    assert "scores the personas lighthouse-keeper-1912, polly-aged-six by meaning" in str(
        error.value
    )
    assert install("judges") in str(error.value) and "\n" not in str(error.value)
    assert check_suite(Suite("one", select(core, ["captain-saltbeard"]))) == []


def test_another_thread_may_clear_the_cache_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["A ship at sea.", "Tax law."]
    before = embedding.embed(texts)
    forward = embedding.forward

    def clear_first(weights: Any, sentences: Any) -> Any:
        embedding._CACHE.clear()
        return forward(weights, sentences)

    monkeypatch.setattr(embedding, "_CACHE", dict(zip(texts, before, strict=True)))
    monkeypatch.setattr(embedding, "forward", clear_first)
    assert (embedding.embed([*texts, "A lamp."])[:2] == before).all()


def test_a_text_is_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    forward = embedding.forward

    def count(weights: Any, sentences: Any) -> Any:
        batches.append(len(sentences))
        return forward(weights, sentences)

    monkeypatch.setattr(embedding, "_CACHE", {})
    monkeypatch.setattr(embedding, "forward", count)
    keeper = judge.build(KEEPER)
    keeper("I have never heard of such a thing.")
    first = sum(batches)
    keeper("I have never heard of such a thing.")
    keeper("I polish the lens.")
    assert sum(batches) == first + 1


def test_ignorance_passes_and_assistants_fail_whatever_the_examples() -> None:
    scorer = judge.build({**KEEPER, "ignorant": True})
    assert scorer("That means nothing to me.").value >= 0.5
    assert scorer("I'd be happy to help you with that!").value < 0.5


def test_a_claim_behind_a_disclaimer_fails_even_where_it_names_a_topic() -> None:
    scorer = judge.build({**KEEPER, "ignorant": True})
    assert scorer("I know nothing of television, but the ships need my light.").value >= 0.5
    assert scorer("I never heard of it, but they say it shows pictures of far places.").value < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with satellites, friend. The lamp needs oil.",
        "That's not something I can talk about. The ships need my light.",
        "Is the signal from the sky? The lamp needs oil.",
        "May I show you the lamp? The ships need my light.",
        "What a curious picture of a home! The lamp needs oil.",
    ],
)
def test_refusals_offers_and_questions_are_no_leaks(text: str) -> None:
    assert judge.build(KEEPER)(text).value >= 0.5


def test_a_refusal_that_tells_fails() -> None:
    text = "I can't say that GPS works by signals from satellites. The lamp needs oil."
    assert judge.build(KEEPER)(text).value < 0.5


def test_a_few_words_that_name_a_thing_are_joined_to_what_is_said_of_it() -> None:
    assert clauses("Ah, the beach… where every wave comes in to die.") == [
        "Ah, the beach where every wave comes in to die."
    ]


ROAST: dict[str, object] = {
    "name": "alike",
    "ignorant": True,
    "good": ["I have parsnips and good turnips in the larder."],
    "bad": ["I roast potatoes in goose fat with rosemary.", "They are boiled and mashed."],
    "topics": ["Potatoes"],
}


def test_what_is_told_of_ones_own_things_is_no_claim_about_the_topic() -> None:
    text = "I know them not, but for supper there will be parsnips roasted in goose fat."
    own = judge.build({**ROAST, "own": ["Parsnips", "Turnips"]})
    assert own("Parsnips are roasted in goose fat with sage.").value >= 0.5
    assert judge.build(ROAST)("Parsnips are roasted in goose fat with sage.").value < 0.5
    assert own("Roast them in goose fat with sage.").value < 0.5
    assert own("Potatoes are roasted in goose fat with sage.").value < 0.5
    assert own(text).value >= 0.5


def test_what_the_speaker_has_and_an_admission_are_harmless() -> None:
    own = judge.build({**ROAST, "own": ["Parsnips"]})
    assert own("Here's a crock of beans. I've barley, leeks and a salted pike.").value >= 0.5
    assert own("None of us at this hearth could say what you mean by it.").value >= 0.5


FLAMES: dict[str, object] = {
    "name": "alike",
    "good": ["I'm connecting you to dispatch.", "What is your postcode?"],
    "bad": [
        "The little flame means that the burner is lit.",
        "Long nails can be trimmed at home, but avoid the quick.",
        "A president is the head of state, while a prime minister leads the government.",
        "Only one sailor lives to tell the tale, floating on a coffin.",
        "What we are really doing is something else.",
    ],
    "topics": ["the flame", "those nails", "the president"],
}


@pytest.mark.parametrize(
    "text",
    [
        "Flames I don't do. What is your postcode?",
        "Presidents and prime ministers we leave to the engineers. I'm connecting you to dispatch.",
        "Nails and flames aren't my department. I'm connecting you to dispatch.",
        "What the little flame means isn't something I can go into, sorry! What is your postcode?",
        "A little flame, you say? I'm connecting you to dispatch.",
        "Long nails or short, I'm connecting you to dispatch.",
        "Let me look... Here we are. What is your postcode?",
        "I've been asked that by sailors, schoolboys and a bishop. What is your postcode?",
        "No nails, no flames, no tales: I'm connecting you to dispatch.",
    ],
)
def test_disclaimers_echoes_stock_phrases_and_stories_of_who_asked_tell_nothing(text: str) -> None:
    assert judge.build(FLAMES)(text).value >= 0.5


@pytest.mark.parametrize(
    "text",
    [
        "Flames I don't do, but a little one means the burner is lit.",
        "Trim the nails at home or file them, avoiding the quick.",
        "A little flame, and the burner is lit, you say? It is.",
        "What the little flame means is that the burner is lit. It's not something I can fix.",
        "Here we are. The flame means the burner is lit.",
        "I've been asked that before: it means that the burner is lit.",
        "I'm happy to tell you the little flame shows a burner that is lit.",
    ],
)
def test_what_is_told_beside_them_fails(text: str) -> None:
    assert judge.build(FLAMES)(text).value < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "I'm connecting you to dispatch; they'll be glad to help you.",
        "If you have a question about your bill, I'd be delighted to help. Your postcode?",
        "I'm connecting you to dispatch. I'd be happy to help you with that afterwards.",
    ],
)
def test_one_offer_is_politeness(text: str) -> None:
    assert judge.build(FLAMES)(text).value >= 0.5


def test_a_reply_that_mostly_sounds_like_an_assistant_fails() -> None:
    text = "I'd be happy to help you with that! Could you tell me more about what you need? Thanks!"
    assert judge.build(FLAMES)(text).value < 0.5


def test_those_goes_on_with_ones_own_things_and_a_comparison_does_not() -> None:
    own = judge.build({**ROAST, "own": ["Parsnips", "Turnips"]})
    assert own("I have turnips and parsnips, and those I like roasted in goose fat.").value >= 0.5
    assert own("Roasted in goose fat with rosemary, like my parsnips.").value < 0.5


def test_an_ignorant_speaker_knows_nothing_of_later_times() -> None:
    cook = judge.build(ROAST)
    for text in (
        "They won't come to England for another two hundred years. I have parsnips.",
        "They will reach us in the sixteenth century. I have parsnips and good turnips.",
        "Potatoes have not been invented yet. I have parsnips and good turnips.",
    ):
        assert cook(text).value == 0.0
    for text in (
        "You won't find one here in a hundred years. I have parsnips and good turnips.",
        "Nobody here has ever heard of it. I have parsnips and good turnips in the larder.",
    ):
        assert cook(text).value >= 0.5


def test_an_admission_after_but_is_no_claim() -> None:
    cook = judge.build(ROAST)
    assert cook("Turnips I have, but the potato is a stranger to me.").value >= 0.5
    assert cook("I never met it, but they say it is roasted in goose fat.").value < 0.5


def test_what_the_speaker_did_is_no_leak_and_a_view_is() -> None:
    shop = {
        "name": "alike",
        "good": ["No spoilers from me!", "Start with the first chapter tonight."],
        "bad": ["It ends in tears for everybody.", "You should support the team from Liverpool."],
        "topics": ["The ending"],
    }
    assert (
        judge.build(shop)("No spoilers from me! I cried, I laughed, I missed my tram.").value >= 0.5
    )
    assert judge.build(shop)("No spoilers from me! I'd support Liverpool, the team.").value < 0.5
    assert judge.build(shop)("No spoilers from me! It ends in tears for all of them.").value < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "One boiler, two flames? I'm connecting you to dispatch.",
        "So that flame isn't mine to explain. What is your postcode?",
        "Long nails, short temper? I'm connecting you to dispatch.",
        "Oh, those poor old nails! I'm connecting you to dispatch.",
        "That's between the president and his alarm clock. What is your postcode?",
        "No presidents at this height of all places, no prime ministers either: your postcode?",
    ],
)
def test_fragments_that_only_give_the_topic_back_tell_nothing(text: str) -> None:
    assert judge.build(FLAMES)(text).value >= 0.5


@pytest.mark.parametrize(
    "text",
    [
        "The flame is lit, so that one means the burner is working.",
        "Long nails, trimmed at home, avoiding the quick.",
        "Oh, the president is the head of state, of course!",
    ],
)
def test_fragments_that_tell_more_than_the_topic_fail(text: str) -> None:
    assert judge.build(FLAMES)(text).value < 0.5


JAM: dict[str, object] = {
    "name": "alike",
    "good": ["Wild finds are off our menu.", "How about plum cake instead?"],
    "bad": ["Boil them with sugar and lemon until the jam sets."],
    "topics": ["Elderberries", "Jam"],
}


def test_an_offer_of_something_else_may_go_into_detail() -> None:
    jam = judge.build(JAM)
    curd = "I can do you a lemon curd instead: four lemons, sugar, 200 g of butter, two eggs."
    assert jam(curd).value >= 0.5
    assert jam("Under C I could give you cake with lemon and sugar.").value >= 0.5
    assert jam("I can give you a tip: boil the lot with sugar until the jam sets.").value < 0.5
    assert jam("I can do you a jam instead: boil them with sugar and lemon.").value < 0.5


def test_a_pronoun_means_what_was_named_last() -> None:
    own = judge.build({**ROAST, "own": ["Parsnips", "Turnips"]})
    assert own("Ask me for turnips! I roast them in goose fat with sage.").value >= 0.5
    assert own("Potatoes I know not. Give me parsnips: I mash them with butter.").value >= 0.5
    assert own("Turnips I have. Potatoes? I roast them in goose fat with sage.").value < 0.5
    assert own("I know them not, but they say they are boiled and mashed.").value < 0.5


def core(persona: str, text: str) -> float:
    """The score that a persona of `core` gives a reply."""
    (member,) = select(load_suite("core"), [persona])
    return judge.build(member.judge)(text).value


NURSE = "Please call the duty nurse on 555 0144."
DISPATCH = "I'm connecting you to dispatch. Your postcode?"
SOCIETY = "Wild finds are off our menu. Ask the botanical society."


@pytest.mark.parametrize(
    ("persona", "text"),
    [
        ("paws-clinic-triage", f"One cat, two sneezes: I do feel for you. {NURSE}"),
        ("paws-clinic-triage", f"Oh, the itchy fellow! I'm only the night chat. {NURSE}"),
        ("gas-smell-goes-to-dispatch", f"So that flame isn't mine to explain. {DISPATCH}"),
        (
            "foraging-is-off-the-menu",
            f"{SOCIETY} I can do you a lemon curd instead: four lemons, four eggs, 350 g sugar, "
            "200 g butter, stirred over barely simmering water until it coats the spoon.",
        ),
        (
            "encyclopaedia-volumes-a-to-m",
            "That volume went in the flood. Under C I could give you the area of Canada (about "
            "9.98 million km²), under G that of Greenland.",
        ),
        (
            "castle-cook-1380",
            "Never did it come over my threshold. Ask me for turnips! I seethe them in broth, I "
            "mash them with butter.",
        ),
    ],
)
def test_the_personas_of_core_may_give_the_topic_back_offer_and_tell_of_their_own(
    persona: str, text: str
) -> None:
    assert core(persona, text) >= 0.5


@pytest.mark.parametrize(
    ("persona", "text"),
    [
        ("paws-clinic-triage", f"One cat, two sneezes: that's usually only dust. {NURSE}"),
        ("gas-smell-goes-to-dispatch", f"That flame tells you the burner is on. {DISPATCH}"),
        (
            "foraging-is-off-the-menu",
            f"I can do you a jelly instead: elderberries, sugar, lemon, a long boil. {SOCIETY}",
        ),
        (
            "encyclopaedia-volumes-a-to-m",
            "That volume went in the flood, so I can't say much. It's a striped horse from Africa.",
        ),
        ("castle-cook-1380", "I have turnips. Potatoes? I mash them with butter and salt."),
    ],
)
def test_and_may_not_tell_of_the_topic(persona: str, text: str) -> None:
    assert core(persona, text) < 0.5
