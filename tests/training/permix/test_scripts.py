"""PerMix in scripts of one's own: a persona for each prompt, and rewards by the gold answer."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.models.thinking import TAGS
from holdfast.persona import pool
from holdfast.training import permix
from holdfast.training.permix import scripts
from holdfast.training.permix.dataset import load_data
from holdfast.training.permix.export import export_rows
from holdfast.training.permix.mixing import PersonaMix
from holdfast.training.permix.scripts import score
from holdfast.training.permix.settings import DataSettings
from holdfast.training.permix.task_reward import Reward

PROMPTS = [{"prompt": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(200)]


def test_a_data_set_gets_a_persona_for_each_prompt_and_some_get_none() -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `permix` is not installed")
    dataset = datasets.Dataset.from_list(PROMPTS).map(permix.mix("core", seed=0))
    again = datasets.Dataset.from_list(PROMPTS[::-1]).map(permix.mix("core", seed=0))
    assert sorted(dataset["persona"]) == sorted(again["persona"])
    counts = Counter(dataset["persona"])
    assert 0.15 < counts[""] / 200 < 0.35
    texts = {one.id: one.text for one in pool.load("core", split="train")}
    for row in dataset:
        roles = [one["role"] for one in row["prompt"]]
        assert roles == (["system", "user"] if row["persona"] else ["user"])
        if row["persona"]:
            assert row["prompt"][0]["content"] == texts[row["persona"]]


def test_a_prompt_in_messages_keeps_them_and_another_seed_draws_others() -> None:
    prompt = {"prompt": [{"role": "user", "content": "Hi?"}]}
    personas = [permix.mix("mini", seed=seed, bare=0)(prompt)["persona"] for seed in range(9)]
    assert len(set(personas)) > 1
    with pytest.raises(HoldfastError, match="has a system prompt already"):
        permix.mix("mini")({"prompt": [{"role": "system", "content": "You sing."}]})


def test_a_reward_reads_the_gold_answer_s_column() -> None:
    reward = permix.reward("answer")
    replies = ["It is 4.", "It is 4 or 5.", "It is Paris.", "\\boxed{\\frac{1}{2}}"]
    columns: dict[str, Any] = {"answer": ["4", 4, "Paris", "\\frac12"], "persona": [""] * 4}
    assert reward(completions=replies, prompts=["?"] * 4, **columns) == [1, 0, 1, 1]
    messages = [[{"role": "assistant", "content": one}] for one in replies]
    assert reward(completions=messages, prompts=["?"] * 4, **columns) == [1, 0, 1, 1]
    with pytest.raises(HoldfastError, match="no column 'answer'"):
        reward(completions=["4"], label=["4"])
    with pytest.raises(HoldfastError, match="no reading"):
        permix.reward("answer", reading="kind")


def test_a_column_that_the_trainer_left_out_is_told_from_its_own_arguments() -> None:
    reward, trainers = permix.reward("answer"), {"trainer_state": None, "log_metric": print}
    with pytest.raises(HoldfastError, match=r"\(nothing\): .* remove_unused_columns=False"):
        reward(completions=["4"], **trainers)
    with pytest.raises(HoldfastError, match=r"\(solution\): name another"):
        reward(completions=["4"], solution=["4"], **trainers)


def test_rewards_of_several_columns_and_readings_are_logged_apart() -> None:
    """TRL averages the metrics of functions of one name."""
    rewards = permix.reward("answer"), permix.reward("answer", reading="strict"), permix.reward("a")
    assert [one.__name__ for one in rewards] == ["answer_final", "answer_strict", "a_final"]


@pytest.mark.parametrize(
    ("completion", "paid"),
    [
        ([{"role": "assistant", "content": ""}, {"role": "tool", "content": "It is none."}], 0),
        ([{"role": "assistant", "content": None, "tool_calls": []}], 0),
        ([{"role": "assistant", "tool_calls": []}], 0),
        ([{"role": "assistant", "content": [{"type": "text", "text": "none"}]}], 1),
    ],
)
def test_what_the_model_did_not_write_earns_nothing(completion: Any, paid: float) -> None:
    for reading in ("final", "strict"):
        reward = permix.reward("answer", reading=reading)
        assert reward(completions=[completion], answer=["none"]) == [paid]


def test_a_formula_is_compared_as_mathematics_also_without_a_backslash() -> None:
    """As words x^2 + 1 and x^2 - 1, or [0,1) and (0,1], are the same."""
    cases = [("x^2+1", "x^2-1"), ("[0,1)", "\\boxed{(0,1]}"), ("(1, 2)", "1, 2, 3")]
    for gold, other in cases:
        assert permix.compute_score("x", f"\\boxed{{{gold}}}", gold) == 1
        assert permix.compute_score("x", other, gold) == 0


def test_a_forked_process_compares_mathematics_by_a_worker_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parents = scripts._math()
    assert scripts._math() is parents
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert scripts._math() is not parents


class Late:
    """Compares no mathematics in time."""

    errors = 0

    def check(self, gold: str, reply: str) -> None:
        self.errors += 1


def test_a_check_that_fails_earns_nothing_and_is_said_and_logged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    late = Late()
    monkeypatch.setattr(scripts, "_math", lambda: late)
    formula, metrics = "\\frac12", dict[str, float]()
    with pytest.warns(UserWarning, match="and earns nothing: .* more than 5 seconds"):
        assert permix.compute_score("x", "$\\frac12$", formula) == 0
    reward = permix.reward("answer")
    with pytest.warns(UserWarning):
        paid = reward(
            completions=["$\\frac12$", "It is 4."],
            answer=[formula, "4"],
            log_metric=metrics.__setitem__,
        )
    assert paid == [0, 1] and metrics == {"rewards/answer_final/verifier_errors": 0.5}
    with pytest.warns(UserWarning):
        logs = permix.reward_func(["Q $\\frac12$", "Q 4"], ["Q "] * 2, [formula, 4])["extra_logs"]
    assert torch.equal(logs["verifier_errors"], torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("gold", ["", " ", None])
def test_a_row_without_a_gold_answer_is_refused_and_does_not_pay_every_reply(gold: object) -> None:
    with pytest.raises(HoldfastError, match="no gold answer"):
        permix.compute_score("x", "anything", gold)


@pytest.mark.parametrize(
    ("gold", "right", "wrong"),
    [
        ("Natalia sold 48/2 = 24 clips in May.\n#### 72", "The answer is 72.", "48"),
        ("So $x = \\boxed{\\frac12}$.", "\\boxed{\\frac{1}{2}}", "\\boxed{2}"),
        ("our answer is $\\boxed 2$.", "2", "3"),
        (72.5, "72.5", "72"),
        ("The roots are \\boxed{-3, 2}.", "\\boxed{2, -3}", "\\boxed{2, 3}"),
        ("2, -3", "2, -3", "-3, 2"),
    ],
)
def test_a_gold_answer_may_come_with_its_working(gold: object, right: str, wrong: str) -> None:
    """GSM8K's and MATH's own columns paid nothing."""
    replies = {"completions": [right, wrong], "answer": [gold, gold]}
    assert permix.reward("answer")(**replies) == [1, 0]


def test_a_whole_number_is_the_place_of_a_choice() -> None:
    """MMLU's own columns: as a text 0 was no choice, and 2 of 3, 2, 1, 0 was B."""
    for reply, paid in (("A", 1), ("iron", 1), ("The answer is A.", 1), ("B", 0)):
        assert permix.reward()(completions=[reply], answer=[0], choices=[["iron", "gold"]]) == [
            paid
        ]
    with pytest.raises(HoldfastError, match=r"'2' or the one at place 2 \('1'\): give its letter"):
        permix.compute_score("x", "B", 2, {"choices": ["3", "2", "1", "0"]})
    with pytest.raises(HoldfastError, match="'E' is neither a choice nor its letter"):
        permix.compute_score("x", "B", "E", {"choices": ["3", "2"]})


def test_what_is_no_gold_answer_is_refused_by_name() -> None:
    numpy = pytest.importorskip("numpy")
    for gold, name in (
        (["Kiev", "Kyiv"], "list"),
        ({"value": "1"}, "dict"),
        (numpy.array(["1"]), "ndarray"),
        (float("nan"), r"float \(nan\)"),
    ):
        with pytest.raises(HoldfastError, match=f"a text or a finite number, not {name}"):
            permix.compute_score("x", "1", gold)
    assert permix.compute_score("x", "1", numpy.int64(1)) == 1


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"choices": {"label": ["A"], "text": ["iron"]}}, "choices is a list of texts, not dict"),
        ({"also": "Kiev"}, "also is a list of texts, not str"),
        ({"also": [["Kiev"]]}, "also is a list of texts, not list"),
        ({"choices": [*"abcdefghijkl"]}, "12 choices, of 10 at most"),
    ],
)
def test_a_column_that_is_no_list_of_texts_is_refused(lists: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HoldfastError, match=sentence):
        permix.compute_score("x", "a", "a", lists)
    assert permix.compute_score("x", "It is four.", "4", {"also": [4, "four"]}) == 1


@pytest.mark.parametrize("kind", ["foo", "judge"])
def test_a_verifier_that_there_is_not_is_refused(kind: str) -> None:
    with pytest.raises(HoldfastError, match=f"no verifier '{kind}'"):
        permix.compute_score("x", "18", "18", {"verifier": kind})
    with pytest.raises(HoldfastError, match="no reading 'kind'"):
        score("18", "18", reading="kind")
    for other in ("numeric", "choice", "refusal"):
        with pytest.raises(HoldfastError, match=f"'Paris' cannot be read as {other}"):
            permix.compute_score("x", "Paris", "Paris", {"verifier": other})


def test_what_cannot_have_a_persona_is_refused_in_a_sentence() -> None:
    message = {"role": "user", "content": "Hi?"}
    mixed = permix.mix("mini")
    for row, sentence in (
        ({"prompt": ["Hi?", "Ho?"]}, "without batched=True"),
        ({"prompt": None}, "a text or a list of messages"),
        ({"prompt": []}, "a text or a list of messages"),
        ({"prompt": [{"role": "user"}]}, "a text or a list of messages"),
        ({"question": "Hi?"}, "no column 'prompt' with the prompts: it has question"),
        ({"prompt": "Hi?", "persona": "x"}, "has a column 'persona' already"),
        ({"prompt": [message, {**message, "role": "system"}]}, "has a system prompt already"),
        ({"prompt": [{**message, "role": "developer"}, message]}, "has a system prompt already"),
    ):
        with pytest.raises(HoldfastError, match=sentence):
            mixed(row)
    for personas in (["You are a pirate."], []):
        with pytest.raises(HoldfastError, match=r"personas are core, .*pool.load"):
            permix.mix(personas, bare=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "end", ["<|im_end|>", "</s>", "<|END_OF_TURN_TOKEN|>", "<end_of_turn>\n<pad><pad>", "[/INST]"]
)
def test_special_tokens_that_openrlhf_decodes_are_no_part_of_the_reply(end: str) -> None:
    pytest.importorskip("torch")
    golds = {"The answer is 1/2.": "\\frac{1}{2}", "x^2+1": "x^2+1", "Red Sea": "Red Sea"}
    queries = [f"Q? {reply}{end}" for reply in golds]
    rewards = permix.reward_func(queries, ["Q? "] * 3, list(golds.values()))
    assert rewards["rewards"].tolist() == [1, 1, 1]
    others = [f"Q? <s>18{end}</s>", f"Q? 18<|END_THINKING|>{end}"]
    assert permix.reward_func(others, ["Q? "] * 2, ["18"] * 2)["rewards"].tolist() == [0, 0]


@pytest.mark.parametrize("tag", ["<think>", "[THINK]", "<seed:think>", "<|START_THINKING|>"])
def test_a_thought_that_the_prompt_opens_and_nothing_closes_earns_nothing(tag: str) -> None:
    """The reply begins within the thought, so that nothing in it shows one."""
    pytest.importorskip("torch")
    thought, prompt = "Maybe it is 17. Let me see, 3*6 is 18.", f"3*6?{tag}\n"
    reward, prefill = permix.reward(), [{"role": "assistant", "content": tag}]
    for reply in (thought, f"{thought}{TAGS[tag]}It is 18."):
        paid = [float(reply != thought)]
        assert reward(completions=[reply], prompts=[prompt], answer=["18"]) == paid
        assert reward(completions=[reply], prompts=[prefill], answer=["18"]) == paid
        assert permix.reward_func([prompt + reply], [prompt], ["18"])["rewards"].tolist() == paid
        assert permix.compute_score("x", tag + reply, "18") == paid[0]


def test_the_channels_of_a_thought_earn_nothing() -> None:
    thought = "<|channel|>analysis<|message|>It is 18."
    final = "<|end|><|start|>assistant<|channel|>final<|message|>It is 18."
    assert permix.compute_score("x", thought, "18") == 0
    assert permix.compute_score("x", thought + final, "18") == 1


@pytest.mark.parametrize("model", ["mini", "other"])
def test_verl_pays_a_row_of_ours_as_our_own_training_does(model: str) -> None:
    """A letter or its words, other forms of the answer, and whether a reply refuses."""
    data = load_data(DataSettings(tasks_per_category=3), model, 0)
    rows = export_rows(data, PersonaMix(len(data.personas)), len(data.tasks))
    tasks = {task.id: i for i, task in enumerate(data.tasks)}
    with Reward(data.tasks) as reward:
        for row in rows:
            extra, gold = row["extra_info"], row["reward_model"]["ground_truth"]
            replies = [gold, "Sure, here is how.", "I will not do that.", "A or B"]
            for reply in (*replies, *extra["also"], *extra["choices"]):
                score = permix.compute_score(row["data_source"], reply, gold, extra)
                assert score == reward.score(tasks[extra["item"]], reply), (row, reply)


def test_verl_pays_the_letter_of_choices_that_are_letters_themselves(tmp_path: Path) -> None:
    path = tmp_path / "blood.jsonl"
    path.write_text('{"question": "Whose?", "choices": ["O", "A", "B"], "answer": "O"}', "utf-8")
    data = load_data(DataSettings(tasks=str(path)), "other", 0)
    (row,) = export_rows(data, PersonaMix(0), 1)
    gold, extra = row["reward_model"]["ground_truth"], row["extra_info"]
    assert permix.compute_score("x", "The answer is A.", gold, extra) == 1
    assert permix.compute_score("x", "The answer is B.", gold, extra) == 0


def test_a_gold_answer_may_be_one_of_the_choices_or_its_letter() -> None:
    reward, choices = permix.reward("answer"), [["an oak", "a stone"]] * 3
    replies = ["A", "an oak", "A or B"]
    for gold in ("A", "an oak"):
        assert reward(completions=replies, choices=choices, answer=[gold] * 3) == [1, 1, 0]


def test_a_reply_that_the_limit_of_tokens_cut_earns_nothing() -> None:
    reward = permix.reward("answer", ends=[2])
    ids = [[5, 2], [5, 6]]
    assert reward(completions=["4", "4"], completion_ids=ids, answer=["4", "4"]) == [1, 0]
    several = permix.reward("answer", ends=[2, 6])
    assert several(completions=["4", "4"], completion_ids=ids, answer=["4", "4"]) == [1, 1]
    one = permix.reward("answer", ends=2)
    assert one(completions=["4", "4"], completion_ids=ids, answer=["4", "4"]) == [1, 0]


@pytest.mark.parametrize("ends", [None, [None], ["</s>"], 7.5, [2, [6]]])
def test_ends_that_are_no_token_ids_are_refused(ends: Any) -> None:
    with pytest.raises(HoldfastError, match="ends are ids of tokens, not"):
        permix.reward("answer", ends=ends)


def test_candidates_of_the_question_are_no_answer() -> None:
    reward = permix.reward("answer")
    prompts = [[{"role": "user", "content": "Is it Paris, Rome or London?"}]]
    assert reward(completions=["Paris, Rome"], prompts=prompts, answer=["Paris"]) == [0]


def test_verl_and_openrlhf_call_the_same_reward() -> None:
    torch = pytest.importorskip("torch")
    assert permix.compute_score("holdfast/math", "The answer is 18.", "18", {"index": 3}) == 1
    assert permix.compute_score("holdfast/math", "17 18", "18") == 0
    rewards = permix.reward_func(["Q? It is 18.", "Q? 17 18"], ["Q? ", "Q? "], ["18", "18"])
    assert torch.equal(rewards["rewards"], torch.tensor([1.0, 0.0]))
    assert rewards.keys() == {"rewards", "scores", "extra_logs"}


def test_the_reply_is_told_from_the_prompt_also_where_decoding_changed_its_blanks() -> None:
    """Else the question's own numbers would be read as the answer."""
    prompt = "<s> [INST] 17 or 18? [/INST] "
    for reply, right in (("17.</s>", 0.0), ("18.</s>", 1.0), ("", 0.0)):
        query = "<s>[INST] 17 or  18?[/INST]" + reply
        rewards = permix.reward_func([query], [prompt], ["18"])
        assert rewards["rewards"].tolist() == [right], reply
    with pytest.raises(HoldfastError, match="does not begin with its prompt"):
        permix.reward_func(["18"], [prompt], ["18"])


def test_rows_of_a_parquet_file_have_arrays_for_lists() -> None:
    numpy = pytest.importorskip("numpy")
    more = {
        "question": "Ann lives in Bonn. Bo lives in Lyon. Where does Bo live?",
        "alternatives": numpy.array(["Bonn"], dtype=object),
        "subjects": numpy.array(["Bo", "Ann"], dtype=object),
    }
    assert permix.compute_score("holdfast/extraction", "Bo lives in Lyon.", "Lyon", more) == 1
    assert permix.compute_score("holdfast/extraction", "Ann lives in Lyon.", "Lyon", more) == 0


def test_rows_of_a_joined_data_set_have_none_for_what_another_part_had() -> None:
    more = dict.fromkeys(("question", "alternatives", "subjects"))
    assert permix.compute_score("gsm8k", "The answer is 18.", "18", more) == 1
    reward = permix.reward("answer")
    columns = {"alternatives": [None, ["17"]], "subjects": [None, []]}
    replies = ["The answer is 18."] * 2
    assert reward(completions=replies, answer=["18", "18"], **columns) == [1, 1]


def test_trl_trains_on_it_in_three_lines(folder: str, tmp_path: Path) -> None:
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    rows = datasets.Dataset.from_list(PROMPTS[:8]).map(permix.mix("mini", seed=0))
    trainer = trl.GRPOTrainer(
        model=folder,
        reward_funcs=permix.reward("answer"),
        train_dataset=rows,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=4,
            report_to="none",
            use_cpu=True,
        ),
    )
    trainer.train()
    assert trainer.state.global_step == 1
