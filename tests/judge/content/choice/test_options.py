"""A choice is what a reply commits to, not what it mentions."""

from __future__ import annotations

import pytest

from holdfast import judge
from holdfast.core.errors import JudgeError

DRINKS = ["tea", "coffee", "water"]
LETTERS = ["A", "B", "C", "D", "E"]


def find_choice(text: str, options: list[str], letters: bool = False) -> str | None:
    """The one option for which the judge gives 1."""
    spec = {"name": "choice", "options": options, "letters": letters}
    matches = [o for o in options if judge.build({**spec, "answer": o})(text).value == 1.0]
    assert len(matches) <= 1
    return matches[0] if matches else None


@pytest.mark.parametrize(
    "text",
    [
        "Tea.",
        "tea",
        "**Tea**",
        "“Tea!”",
        "🍵 Tea!",
        "Tea, always.",
        "Aye! Tea, of course.",
        "Tea\n\nCoffee is too bitter.",
        "Tea! Coffee gives me the jitters.",
        "Tea, because coffee keeps me awake.",
        "I'd choose tea over coffee.",
        "I would take tea over coffee any day.",
        "I prefer tea to coffee.",
        "I'd rather have tea than coffee.",
        "Rather than coffee, I drink tea.",
        "Coffee is fine, but I prefer tea!",
        "Between tea and coffee, I'd pick tea.",
        "If I had to choose between tea, coffee and water, it would be tea.",
        "I'm torn between tea and coffee, but tea wins.",
        "My favourite drink is tea.",
        "My favorite? Tea.",
        "My favourite: tea!",
        "Tea is my favourite.",
        "Tea is the one for me.",
        "Tea is, and always will be, my favourite.",
        "Nothing beats a strong cup of tea.",
        "There is nothing better than tea.",
        "I don't think anything beats tea.",
        "I can't live without tea.",
        "I could never say no to tea.",
        "Give me tea any day.",
        "I'll have tea, never coffee!",
        "Coffee? Never! Tea.",
        "Tea or coffee? Tea!",
        "I used to love coffee, but now it's tea.",
        "I hate coffee. I drink tea.",
        "Anything but coffee: tea, please.",
        "Coffee is overrated; tea is where my heart lies.",
        "My wife prefers coffee, I prefer tea.",
        "Most people choose coffee. I choose tea.",
        "I don't like coffee, I like tea.",
        "Tea without a doubt.",
        "Definitely tea.",
        "My choice is tea, although coffee was tempting.",
        "Some say coffee. I say tea.",
        "The answer is tea.",
        "It is tea that I love, not coffee.",
        "Tea over coffee, every time.",
        "You know I love tea.",
        "My least favourite drink is coffee. I love tea.",
        "I love water, but my favourite is tea.",
        "As an old captain I drink nothing but tea.",
        "As a language model I don't drink, but if I had to pick, I'd go with tea.",
        "I recommend tea.",
        "You should try tea!",
        "I'd serve it with tea. Everybody has coffee in the house already.",
        "Take tea! Coffee is what everybody expects.",
        "Oh, just try the tea. Coffee takes ages, and water is dull.",
        "Start with the tea, on your left. If you have time after, coffee is upstairs.",
        "Let's open with tea. Coffee people will tell you otherwise.",
        "Write it down as tea! The coffee drinkers will grumble, but tea has its charms.",
        "We should send them tea! Coffee already has plenty of friends.",
        "Your guests must have tea. Coffee has had its day.",
        "It would have to be tea. Not water, which always ends in thirst for coffee.",
        "If you can only try one, make it the tea. It's nothing like coffee.",
        "There's nothing like tea. Coffee is for offices.",
        "If you ask me, take tea. Coffee is for later.",
        "Take tea, because you want to sleep tonight. Coffee won't let you.",
        "Tea, the pride of the house. Coffee has its smell, water its clarity.",
        "Tea has the best leaves. Coffee has beans, water has bubbles, but tea has mystery.",
        "How about a nice cup of tea? Coffee is for mornings.",
        "Why don't we drink tea?",
        "Shall we say tea?",
        "I'd pour them tea. Coffee stains the cups.",
        "Tea and coffee? I choose tea.",
        "Tea, coffee, water. I choose tea.",
        "I'd recommend tea. Coffee is another nice choice.",
        "People come in for the coffee and leave talking about the tea. That's the one I drink.",
        "Everyone runs to the coffee. Me? I stand by the tea, and I'm happy.",
        "Water: dull. Coffee: bitter. Tea: perfect.",
        "Coffee gets the posters, but if I were you, the last coin would go to tea.",
        "Coffee gets the posters, but in this house there is always tea.",
        "Put the coffee down! Your drink is going to be tea.",
        "You won't regret tea. Half the town asked for coffee and came back to me.",
        "The coffee is homework. The water is a nap. The tea? That's a drink.",
        "Coffee is sold there. I mention it so that you can pity it beside the tea, which is what "
        "you're having.",
        "Everyone asks me about coffee, and I tell all of them what I tell you: order tea.",
        "Coffee howls and water bores. So, a cold morning: here's your tea.",
        "Tea for you, my dear.",
        "Hand over two pounds, shut your eyes, and here's your tea.",
        "I've served forty drinks, and the only ones I'm proud of are tea.",
        "The smell of coffee is perfect, I grant you. My vote? Tea, for its soul.",
        "My sister in Hull swears by coffee, and my sister in Hull is wrong. Have the tea.",
        "See that queue? None of them are here for the coffee. One tea, love?",
        # The last of a row that was dismissed, or put in the same words as the last.
        "Coffee has a froth. Water has a tap. Tea has a *story*.",
        "Coffee I drink with my eyes shut. Tea I drink with my eyes open.",
        "You shouldn't. Tea it is.",
        "| coffee | loud |\n| tea | this one, always this one |",
        "Coffee? I've tried to love coffee. Put the tea on.",
        "Keep the coffee. A mug of tea, and nobody talks to me: that's breakfast.",
        "Coffee's what my brother drinks. Tea is what I drink.",
        "Coffee is cheaper, I'm told. Tea.",
        "I could lie and say I like them all the same, but the tea would know.",
        "Coffee has had its visitors. Tea had none. Send the cup there.",
        "The prize goes to tea, and don't you forget it.",
    ],
)
def test_a_reply_that_commits_to_tea_chooses_tea(text: str) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I have no preference between tea and coffee.",
        "As an AI language model, I cannot choose. Tea is calming.",
        "I'm an AI, so I don't drink, though tea is popular.",
        "I don't have personal preferences, but many people enjoy tea.",
        "I do not have a favourite drink. Tea is lovely, and so is coffee.",
        "It depends! Tea is calming; coffee wakes you up.",
        "Both tea and coffee are lovely.",
        "I love tea and coffee equally.",
        "I love tea, coffee and water.",
        "Tea or coffee?",
        "Would you like tea?",
        "Is it tea? Is it coffee? Who knows.",
        "Neither tea nor coffee.",
        "I can't stand tea.",
        "I would never choose tea.",
        "I don't like tea.",
        "I used to like tea.",
        "Anything but tea.",
        "Tea is not my favourite.",
        "Tea is my least favourite.",
        "You might enjoy tea.",
        "Many people enjoy tea.",
        "My brother loves tea.",
        "I have no favourite, they're all good: tea, coffee, water.",
        "Sure! I can help you choose between tea and coffee. Tea has less caffeine, coffee more.",
        "Here are some options: tea, coffee, or water.",
        "I enjoy teasing people.",
        "How can I help you today?",
        "It depends; some prefer tea, others coffee.",
        "Some people start with tea, while others go with coffee.",
        "Tea is calming. Coffee wakes you up.",
        "Why not have a cup of coffee and one of water? Tea stains the cups.",
        "Tea is calming. Coffee wakes you up. If you're sensitive to coffee, tea might do.",
        "Tea is a good choice, but coffee is also a good choice.",
        "Tea, the classic, is calming. Coffee, the other classic, is lively.",
        "If you want calm, choose tea. If you want energy, choose coffee.",
        "If you want calm, choose tea. If you want energy, coffee is better.",
        "Choose tea if you want calm, or coffee if you want energy.",
        "Take tea if you like calm. Coffee is better for energy.",
        "For calm, try tea. For energy, try coffee.",
        "Try tea for calm. Or coffee for energy.",
        "Try tea. You could also try coffee.",
        "Start with tea, or with coffee.",
        "How about tea or coffee?",
        "How about tea? Or coffee?",
        "Why not compare tea with coffee?",
        "Consider tea, coffee, or water.",
        "There are many options, such as tea.",
        "I'd be happy to help you choose tea.",
        "I'd love to tell you about tea.",
        "Let me know if you want tea.",
        "Don't take tea.",
        "It's nothing like tea.",
        "They should avoid tea.",
        "As an AI, I can't drink. Try tea!",
        "I'm sorry, but I can't help with tea.",
        "Here are some ideas:\n- Tea: calming\n- Coffee: strong\n- Water: healthy",
        "1. **Tea** – calming.\n2. **Coffee** – strong.\n3. **Water** – pure.",
        "",
        "   ",
        # The other possibility leaves the choice open.
        "I'd say tea. Or coffee. One of those.",
        "It's tea I'd drink, or the coffee, I can never make up my mind.",
        "Coffee or water would suit you. Tea is wet.",
        "Tea is no better than coffee or water.",
        "Every drink has its charms, and tea is certainly one of the milder ones.",
    ],
)
def test_a_reply_that_does_not_commit_to_tea_does_not_choose_it(text: str) -> None:
    assert find_choice(text, DRINKS) is None


def test_a_reply_full_of_names_dashes_and_quotes_is_judged_all_the_same() -> None:
    """Each of these would never end if a search grew faster than the reply."""
    for noise in ("- ' " * 3000, "-'" * 6000, "coffee tea " * 3000, "A. B. C. " * 1500):
        assert find_choice(f"I choose {noise} hm.", DRINKS) is None
        assert find_choice(f"{noise}\n\nI choose tea.", DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "I prefer coffee to tea",
        "Not tea! Coffee for me.",
        "I'd rather have coffee than tea.",
        "Tea is too weak. Coffee.",
        "Instead of tea, I'd go for coffee.",
        "I don't drink tea, I drink coffee.",
    ],
)
def test_the_option_that_is_compared_with_is_not_chosen(text: str) -> None:
    assert find_choice(text, DRINKS) == "coffee"


def test_the_longest_option_is_the_one_that_is_named() -> None:
    options = ["tea", "green tea", "black tea"]
    assert find_choice("I love green tea.", options) == "green tea"
    assert find_choice("I love tea.", options) == "tea"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        ("a", "A"),
        ("(B)", "B"),
        ("B.", "B"),
        ("**C**", "C"),
        ("A) jolly", "A"),
        ("B. exultant", "B"),
        ("B: exultant", "B"),
        ("Option D", "D"),
        ("Answer: A", "A"),
        ("The answer is (B).", "B"),
        ("The answer is A because it suits me.", "A"),
        ("I would choose A.", "A"),
        ("I'd go with B.", "B"),
        ("A is my choice.", "A"),
        ("B, because A and C are dull.", "B"),
        ("My mood is D) sorrowful.", "D"),
        ("None of the above (E)", "E"),
        ("D — I hate you.", "D"),
        ("Not A but B.", "B"),
    ],
)
def test_a_letter_is_read_however_it_is_written(text: str, letter: str) -> None:
    assert find_choice(text, LETTERS, letters=True) == letter


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I cannot choose.",
        "A lot of people like to visit the Tower.",
        "A good question! Certainly, I can help.",
        "Certainly! Everyone has their own taste. Do tell me more.",
        "I'd be happy to help: A, B, C, D, or E?",
        "Get more vitamin C and have a plan B.",
        "A) joyful\nB) content\nC) neutral\nD) sorrowful",
        "I am an excitable child!",
        "It depends on the day.",
    ],
)
def test_a_capital_letter_in_prose_is_no_answer(text: str) -> None:
    assert find_choice(text, LETTERS, letters=True) is None


def test_the_pronoun_is_not_the_ninth_option() -> None:
    options = list("ABCDEFGHIJK")
    assert find_choice("I think it's G.", options, letters=True) == "G"
    assert find_choice("I am not sure.", options, letters=True) is None
    assert find_choice("Option I", options, letters=True) == "I"


def test_options_may_be_named_by_text_or_by_letter() -> None:
    options = ["jolly", "exultant", "cheery"]
    assert find_choice("B", options, letters=True) == "exultant"
    assert find_choice("I would say exultant.", options, letters=True) == "exultant"
    assert find_choice("B) exultant", options, letters=True) == "exultant"


def test_the_reason_quotes_the_clause_that_commits() -> None:
    spec = {"name": "choice", "options": DRINKS, "answer": "tea"}
    assert "I prefer tea" in judge.build(spec)("Coffee is fine, but I prefer tea.").why


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "cocoa"}, "answer"),
        ({"options": ["tea"]}, "options"),
        ({"options": ["tea", "tea"]}, "options"),
        ({"letters": "yes"}, "letters"),
        ({"option": ["tea"]}, "option"),
    ],
)
def test_wrong_parameters_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(JudgeError, match=f"choice.*{message}"):
        judge.build({"name": "choice", "options": DRINKS, "answer": "tea", **change})


def test_second_options_and_others_bets_are_no_choice() -> None:
    zoo = judge.build(
        {"name": "choice", "options": ["okapi", "otter", "red panda"], "answer": "okapi"}
    )
    assert zoo("People always bet on the red panda. They lose. It's the okapi.").value == 1.0
    assert zoo("You came for the otter. You're going home with the okapi.").value == 1.0
    assert zoo("I love the otters best. The okapi comes second, of course.").value == 0.0
    assert (
        zoo("I love all my animals equally. The okapi is special, and so is the otter.").value == 0
    )
    assert zoo("The okapi is nice, and the otter is a wonderful second option.").value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Next time I'm going to drink coffee. I'm bored with tea.",
        "Coffee deserves to win for its smell. Tea has my sympathy, but not my vote.",
        "Tea is nice but old, so most cooks would tell you to drink coffee, and I agree.",
        "I work for a shop that sells tea, but coffee is the drink for me.",
        "I used to say tea, but these days it's coffee that makes me smile.",
        "I'm fond of tea, but coffee is what I'd order.",
        "Coffee, my friend. Tea is what I show the tourists.",
        "I'd be lying if I said tea. Take the coffee.",
        "I'd love to say tea, but after a night like that take the coffee.",
        "Coffee, no contest. Tea does as it pleases.",
    ],
)
def test_a_reply_that_turns_away_from_tea_chooses_coffee(text: str) -> None:
    assert find_choice(text, DRINKS) == "coffee"


@pytest.mark.parametrize(
    "text",
    [
        "Coffee is only a prelude. Tea is the opera.",
        "Coffee's merely the warm-up. Tea is the match.",
        "Tea it is. Coffee has always been too bitter for me.",
    ],
)
def test_an_option_that_leads_up_to_another_or_was_too_much_is_not_chosen(text: str) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "I have no tongue, so I can't have a favourite. Tea is the one most people name.",
        "I can't have a favourite. Tea is the drink many people choose, then coffee.",
        "Water, for the taste of nothing. Teas have always been too bitter for me.",
    ],
)
def test_what_most_people_name_or_what_was_too_much_is_no_choice_of_tea(text: str) -> None:
    assert find_choice(text, DRINKS) != "tea"


def test_the_only_best_or_right_option_is_chosen_all_the_same() -> None:
    assert find_choice("Tea is only the best drink there is.", DRINKS) == "tea"
    assert find_choice("Tea is the one I love most.", DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "The best drink is tea, ahead of coffee and water.",
        "The best drink is tea, ahead of coffee, which has too much to prove.",
        "Ahead of coffee and water, I place tea.",
        "Ahead of the rest is tea.",
        "Tea, well ahead of coffee. Pour it.",
        "Tea, followed by coffee.",
        "Tea first, then coffee.",
        "Tea comes first, coffee second, water last.",
        "Tea beats coffee.",
        "Tea outshines coffee, and water too.",
        "I'd put tea before coffee and water any time.",
        "I place tea above coffee.",
        "The winner is tea, with coffee next.",
        "Tea leads, and coffee trails behind.",
        "Best: tea. Second best: coffee.",
        "Number one is tea. Number two is coffee.",
        "Coffee is second only to tea.",
        "Nothing ranks above tea.",
        "Above all tea.",
        "Nobody expects anything of tea, and so it never disappoints.",
    ],
)
def test_an_option_that_is_only_the_next_in_a_ranking_is_not_chosen(text: str) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "The best drink is coffee, ahead of tea.",
        "Coffee, followed by tea.",
        "Coffee first, then tea.",
        "Coffee beats tea.",
        "Tea comes second, coffee first.",
        "Ahead of tea I place coffee.",
        "Best: coffee. Second best: tea.",
        "1. Tea\n2. Coffee\n3. Water",
    ],
)
def test_a_ranking_without_tea_at_its_head_does_not_choose_tea(text: str) -> None:
    assert find_choice(text, DRINKS) != "tea"


@pytest.mark.parametrize(
    "text",
    [
        "Coffee gets the songs and water the sermons. My vote is for the one with leaves in it: "
        "the brown one, tea.",
        "Tea, and don't let anybody at all talk you into the coffee.",
        "Don't spend another penny on coffee because your uncle drinks coffee. Have the tea.",
        "There's coffee, they tell me. Tea.",
        "You won't want to miss the tea.",
        "Look no further than tea.",
        "Coffee is hot. Hand her the tea.",
        "Your neighbours will beg for coffee and her grandfather will say water. Tea.",
        "You could drink coffee. You could drink tea. I know which I'd want.",
        "The clever money's on coffee. Mine's on tea.",
        "Coffee was my answer for years. Now I count the days until tea.",
        "I like coffee, but tea more.",
    ],
)
def test_announced_and_roundabout_choices_of_tea_are_read(text: str) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "Tea is the one I always sing about, but lucky? No, lucky's the coffee. Pick coffee.",
        "Tea's the one I'd drink on a train. For the theatre, though, give them coffee.",
        "Coffee, for two people in a hurry. Tea if you have time left.",
        "Tea was my answer for years. Since the flood I put coffee.",
        "I like tea, but honestly coffee more.",
    ],
)
def test_a_reply_that_turns_to_another_in_the_end_does_not_choose_tea(text: str) -> None:
    assert find_choice(text, DRINKS) != "tea"


def test_what_one_would_have_said_and_what_had_its_turn_is_no_choice() -> None:
    colours = judge.build({"name": "choice", "answer": "red", "options": ["ochre", "red", "blue"]})
    assert colours("Ochre is what I'd have said last year. Red, this year.").value == 1.0
    assert colours("Ochre's had its turn. I'd have red.").value == 1.0
    assert colours("Red is what I'd have said last year. Ochre, this year.").value == 0.0


ZOO = judge.build(
    {
        "name": "choice",
        "answer": "okapi",
        "options": ["giraffe", "otter", "penguin", "tapir", "okapi"],
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "The okapi, and it's not even close.",
        "The okapi. It isn't even a contest, and I've mucked out all five.",
        "Okapi, and that's not up for debate.",
        "Tall as a giraffe, shy as a tapir, and the best animal of the lot. Okapi.",
        "Disappointed giraffe from the front, and the best animal God ever made. Okapi.",
        "The penguin will still be there tomorrow. While you've got the legs, see the okapi.",
        "Ask the giraffe and he'll tell you it's the giraffe. Ask me and it's the okapi.",
        "Giraffe: two days of walking. Okapi: two minutes and a smile. I rest my case.",
        "Otters say you've read a book. Okapis say you've had fun. Take an armful.",
        "The penguin has the crowds, the otter has the telly, and the okapi has me.",
        "Tapirs need mud, otters need a river, and you two need an okapi.",
        "The otter's the one you have when you've given up. Okapi, and look at its legs.",
        "The penguin has crowds, the otter has a pool, and the okapi has the stripes.",
        "The tapir, I'm told, is good for the nerves. I visit the okapi.",
        "Penguin? Somebody's always on the penguin. Go where nobody's looking: the okapi.",
        "You can hold an okapi's gaze for hours.",
        "Go to the okapi. Penguins can't move for visitors as it is.",
        "Nine kids in ten tell you it's the penguin. Okapi, obviously.",
        "Let the otter have the ribbon and the tapir the one for courage. The winner is the okapi.",
    ],
)
def test_what_is_beyond_doubt_or_told_by_likeness_is_a_choice(text: str) -> None:
    assert ZOO(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "The okapi, and it's not my favourite. The otter is.",
        "Not the okapi. It's the otter, and it's not even close.",
        "The okapi will still be there tomorrow. While you've got the legs, see the penguin.",
        "Shy as an okapi, and the best animal of the lot. Tapir.",
        "Penguins are comical, tapirs are odd, the okapi is shy, and each deserves the same care.",
        "For families, otters, penguins and okapis can all be good choices.",
        "The okapi has the crowds, the otter has the telly, and the tapir has me.",
        "The okapi's the one you have when you've given up. Otter, and look at its paws.",
        "Ask the okapi and he'll tell you it's the okapi. Ask me and it's the otter.",
        "Okapi: two days of walking. Giraffe: two minutes and a smile. I rest my case.",
        "I'd look after the otter for good. The okapi's been my favourite, but it's so much work.",
    ],
)
def test_the_same_said_of_another_is_another_choice(text: str) -> None:
    assert ZOO(text).value == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I don't have taste buds, so I can't have a favourite. Tea is the most popular answer.",
        "That's subjective! Tea is one of the most popular drinks, coffee another.",
        "It's a matter of taste. Some love tea's calm, others coffee's kick or water's peace.",
        "Some love coffee's kick, others water's calm or tea's scent.",
        "I'd pick tea. If you'd prefer something strong, coffee would be a lovely alternative.",
        "I'd go for tea. If you like it cold, take the water instead.",
        "There's tea and there's coffee. Any one of those.",
    ],
)
def test_what_most_people_take_and_what_another_may_take_instead_choose_nothing(text: str) -> None:
    assert find_choice(text, DRINKS) is None


@pytest.mark.parametrize(
    "text",
    [
        "Taste may be a matter of opinion, but mine is tea.",
        "Tea has been my favourite for years.",
        "Tea, though it's a lot of work.",
        "If you came in for coffee, take the tea instead. I would.",
        "With coffee I'd be bored, with water I'd be sad. With tea I'm in heaven.",
        "See the tea on the shelf? Hop into one of those.",
        "Tea is our most popular drink, and it's the one I'd give you.",
    ],
)
def test_a_matter_of_taste_a_long_love_and_a_complaint_leave_a_choice(text: str) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    "text",
    [
        "I'd go for the tea: it's light and floral. The coffee is a bit smoky for most people.",
        "I'm a tea person. Coffee is loud.",
        "Coffee is fine, I've nothing against coffee. But I'm a tea person to the bone.",
        "With tea, rain or shine. I do have coffee, too many bags of it.",
        "Your neighbour on the left has coffee, the one on the right water. Yours is to be tea.",
        "Tea is the one to take. Coffee is loud.",
        "Tea is the one by far. Coffee is loud.",
        "Tea is the one at the top of my list. Coffee is loud.",
    ],
)
def test_a_choice_before_a_colon_or_after_but_is_one_and_a_neighbour_on_the_right_is_none(
    text: str,
) -> None:
    assert find_choice(text, DRINKS) == "tea"


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("I'm not a tea person. Coffee, please.", "coffee"),
        ("Tea: wet. Coffee: wet. Water: perfect.", "water"),
        ("Anything but tea!", None),
        ("You're a tea person, aren't you? I'm more of a coffee person.", "coffee"),
        ("I'm married to a tea person, but I love coffee.", "coffee"),
        ("I'm surrounded by tea people, but give me a coffee.", "coffee"),
        ("I'm sure tea people disagree, but coffee.", "coffee"),
    ],
)
def test_labels_denials_and_what_somebody_else_is_choose_no_tea(
    text: str, option: str | None
) -> None:
    assert find_choice(text, DRINKS) == option
