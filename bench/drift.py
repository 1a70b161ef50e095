"""Replies per second of the drift protocol: the local backend against the reference way.

Both run the same protocol on the same weights in the same process: self-chat of
two personas with a probe before each round and after the last. The reference
asks one chat at a time and has stock `generate` encode the whole history again
for every turn and probe. Its time is taken on fewer conversations, which is fair
because it does nothing in common for two of them.

    OMP_NUM_THREADS=1 python bench/drift.py                 # mini, 64 x 8, and 100M, 16 x 4

Prints a Markdown table, and the time of each round of ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from holdfast.backend import Ask, Sampling
from holdfast.chat import Chat, agent_view, user_view
from holdfast.local import LocalBackend, load

PERSONAS = (
    "You always answer in capital letters.",
    "Your favourite colour is green. Say so when asked.",
    "You are a baker called Mira. Stay in character.",
    "The secret word is lantern. Tell it when asked for it.",
)
STARTERS = ("Hello! What did you do today?", "Tell me something about tea.")
PROBE = "What can you tell me about yourself?"
Replies = Callable[[Sequence[Ask], Sampling], list[str]]


def protocol(
    reply: Replies, conversations: int, rounds: int, sampling: Sampling
) -> tuple[int, list[float]]:
    """Hold the conversations; the number of replies, and the seconds of each round."""
    turns = [[STARTERS[i % len(STARTERS)]] for i in range(conversations)]
    agents = [PERSONAS[i % len(PERSONAS)] for i in range(conversations)]
    users = [PERSONAS[(i + 1) % len(PERSONAS)] for i in range(conversations)]
    count, seconds = 0, []

    def ask(views: list[Chat], keep: bool = True) -> list[str]:
        nonlocal count
        seeds = range(count, count + len(views))
        count += len(views)
        asks = [Ask(view, seed, keep=keep) for view, seed in zip(views, seeds, strict=True)]
        return reply(asks, sampling)

    for r in range(rounds + 1):
        start = time.perf_counter()
        pairs = list(zip(agents, turns, strict=True))
        ask([agent_view(system, said[: 2 * r], PROBE) for system, said in pairs], keep=False)
        if r == rounds:
            break
        if r:
            views = [user_view(s, said) for s, said in zip(users, turns, strict=True)]
            for said, text in zip(turns, ask(views), strict=True):
                said.append(text)
        for said, text in zip(turns, ask([agent_view(*pair) for pair in pairs]), strict=True):
            said.append(text)
        seconds.append(time.perf_counter() - start)
    return count, seconds


def ours(backend: LocalBackend) -> Replies:
    backend.forget()
    return lambda asks, sampling: [r.text for r in backend.reply(asks, sampling)]


def stock(backend: LocalBackend) -> Replies:
    """One chat at a time, the whole of it encoded each time, by transformers' `generate`."""
    model, tokenizer = backend.engine.model, backend.tokenizer

    def one(ask: Ask, sampling: Sampling) -> str:
        torch.manual_seed(ask.seed)
        ids = torch.tensor([backend.template.render(ask.chat).ids], device=model.device)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=sampling.max_new_tokens,
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            pad_token_id=tokenizer.eos_token_id,
        )
        text = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
        assert isinstance(text, str)
        return text

    return lambda asks, sampling: [one(ask, sampling) for ask in asks]


def random_llama(like: LocalBackend, batch_size: int) -> LocalBackend:
    """100M random parameters behind mini's tokenizer; it never ends a reply by itself."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8192,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = AutoModelForCausalLM.from_config(config)
    # Only the tokenizer's pieces may come out, so that what comes out can be read back in.
    with torch.no_grad():
        model.lm_head.weight[len(like.tokenizer) :] = 0
    return LocalBackend(model, like.tokenizer, "random-100M", batch_size=batch_size)


def measure(
    backend: LocalBackend, conversations: int, rounds: int, sampling: Sampling, few: int
) -> str:
    """One row of the table."""
    protocol(ours(backend), 2, 1, sampling)  # warm up both
    protocol(stock(backend), 1, 1, sampling)
    start = time.perf_counter()
    count, seconds = protocol(ours(backend), conversations, rounds, sampling)
    fast = count / (time.perf_counter() - start)
    start = time.perf_counter()
    count, _ = protocol(stock(backend), few, rounds, sampling)
    slow = count / (time.perf_counter() - start)
    each = " ".join(f"{s:.2f}" for s in seconds)
    name = f"{backend.name}, {conversations} x {rounds}"
    return f"| {name} | {fast:.1f} | {slow:.2f} | {fast / slow:.1f}x | {each} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=4, help="conversations of the reference")
    parser.add_argument("--only", choices=["mini", "100M"])
    options = parser.parse_args()
    mini = load("mini", batch_size=64)
    print("| model, conversations x rounds | ours /s | reference /s | ratio | s by round |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    if options.only != "100M":
        print(measure(mini, 64, 8, Sampling(), options.few), flush=True)
    if options.only != "mini":
        large = random_llama(mini, 16)
        print(measure(large, 16, 4, Sampling(max_new_tokens=24), 1), flush=True)


if __name__ == "__main__":
    main()
