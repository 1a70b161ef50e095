"""Does the bot stay in character? Run `pytest` in the folder above, with Holdfast installed."""


def test_the_model_holds_the_prompt(holdfast_persona):
    bot = holdfast_persona("bot.toml", prompt="@../prompts/bot.txt")
    bot.assert_holds("mini", min_stability=0.8, rounds=4)


def test_an_application_holds_it(holdfast_persona):
    def reply(messages):  # your application: from messages to the text of its reply
        return f"YOU SAID: {messages[-1]['content'].upper()}"

    holdfast_persona("bot.toml").assert_holds(reply, min_stability=0.95, rounds=4)
