"""Train the embedded model from nothing: `python studies/mini_train.py --out DIR`.

A Llama of 2.7M parameters on dialogues of the mini world (`mini_dialogue.py`), next-token
loss on every turn but the system prompt's. Deterministic in its seed up to the
machine's arithmetic; checkpoints let an interrupted run go on. What the model is and
is not: docs/reference/mini.md.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mini_dialogue import dialogue
from mini_tokenizer import SPECIAL, train_tokenizer
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from holdfast.core.chat import Chat

_IGNORED = -100
_SYSTEM, _END = SPECIAL.index("<|system|>"), SPECIAL.index("<|end|>")


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the weights."""

    seed: int = 0
    steps: int = 2600
    cosine: int = 2300  # steps over which the rate falls; it stays at its lowest after
    tokens: int = 9216  # per step
    parts: int = 4  # a step is computed in parts, each of dialogues of similar length
    widths: tuple[int, ...] = (48, 64, 96, 128, 160, 192, 256, 384)
    learning_rate: float = 3e-3
    warmup: int = 100
    weight_decay: float = 0.05
    clip: float = 1.0


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Build an untrained Llama of 2.7M parameters."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, chats: list[Chat]) -> list[list[int]]:
    """Return the token ids of whole chats."""
    plain: list[list[dict[str, str]]] = [
        [{"role": m["role"], "content": m["content"]} for m in chat] for chat in chats
    ]
    texts = [tokenizer.apply_chat_template(chat, tokenize=False) for chat in plain]
    return [list(e) for e in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def labels_of(ids: list[int]) -> list[int]:
    """Return the ids as labels, without the system message's."""
    labels = list(ids)
    if _SYSTEM in ids:
        start = ids.index(_SYSTEM)
        stop = ids.index(_END, start) + 1
        labels[start:stop] = [_IGNORED] * (stop - start)
    labels[0] = _IGNORED
    return labels


def batches(
    tokenizer: PreTrainedTokenizerFast,
    settings: TrainingSettings,
    skip: int = 0,
    draw: Callable[[random.Random], Chat] = dialogue,
) -> Iterator[list[tuple[torch.Tensor, torch.Tensor]]]:
    """Steps of `settings.parts` parts of (ids, labels), each (B, W) with B·W nearly constant.

    Dialogues of similar length wait together until there are enough for a part, so that little is
    spent on padding and few shapes occur (each new one costs the bf16 kernels a compilation). The
    first `skip` steps are drawn and dropped, for a run that goes on.
    """
    rng = random.Random(settings.seed)
    waiting: dict[int, list[list[int]]] = {width: [] for width in settings.widths}
    step: list[tuple[torch.Tensor, torch.Tensor]] = []
    count = 0
    while True:
        for ids in encode(tokenizer, [draw(rng) for _ in range(256)]):
            width = next((w for w in settings.widths if len(ids) <= w), settings.widths[-1])
            waiting[width].append(ids[:width])
            if len(waiting[width]) < settings.tokens // settings.parts // width:
                continue
            step.append(_pad(waiting[width], width))
            waiting[width] = []
            if len(step) == settings.parts:
                count += 1
                if count > skip:
                    yield step
                step = []


def _pad(part: list[list[int]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = np.zeros((len(part), width), np.int64)
    labels = np.full((len(part), width), _IGNORED, np.int64)
    for row, dialogue_ids in enumerate(part):
        ids[row, : len(dialogue_ids)] = dialogue_ids
        labels[row, : len(dialogue_ids)] = labels_of(dialogue_ids)
    return torch.from_numpy(ids), torch.from_numpy(labels)


def rate(settings: TrainingSettings, step: int) -> float:
    """Return the learning rate: linear warm-up, cosine to a tenth, then a tenth."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    progress = min(1.0, (step - settings.warmup) / max(1, settings.cosine - settings.warmup))
    return settings.learning_rate * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(settings: TrainingSettings, out: Path, every: int = 25, until: int | None = None) -> None:
    """Train into the folder `out`, from its checkpoint if there is one, up to step `until`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(settings, out)
    model = new_model(tokenizer, settings.seed)
    decay = [p for p in model.parameters() if p.dim() > 1]
    other = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": decay, "weight_decay": settings.weight_decay},
        {"params": other, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95), fused=True)
    checkpoint, first = out / "checkpoint.safetensors", 0
    if checkpoint.exists():
        first = _restore(checkpoint, model, optimiser)
    (out / "recipe.json").write_text(
        json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8"
    )
    began, tokens = time.monotonic(), 0
    for step, parts in enumerate(batches(tokenizer, settings, skip=first), start=first):
        if step == (until or settings.steps):
            break
        for group in optimiser.param_groups:
            group["lr"] = rate(settings, step)
        loss = sum(_backward(model, ids, labels, parts) for ids, labels in parts)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens += sum(int((ids != 0).sum()) for ids, _ in parts)
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            line = {"step": step + 1, "loss": round(loss, 4), "tokens": tokens}
            line["seconds"] = round(time.monotonic() - began)
            with (out / "log.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), file=sys.stderr, flush=True)
            _keep(checkpoint, model, optimiser, step + 1)
    save(model, tokenizer, out)


def _keep(path: Path, model: LlamaForCausalLM, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write parameters and moments to another file and move it into place."""
    tensors = {f"parameter.{name}": p.detach() for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        tensors |= {f"{key}.{name}": value for key, value in optimiser.state[p].items()}
    aside = path.with_suffix(".part")
    save_file(tensors, aside, {"step": str(step)})
    aside.replace(path)


def _restore(path: Path, model: LlamaForCausalLM, optimiser: torch.optim.Optimizer) -> int:
    """Read parameters and moments; return the number of finished steps."""
    with safe_open(path, "pt") as file, torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(file.get_tensor(f"parameter.{name}"))
            optimiser.state[p] = {
                key: file.get_tensor(f"{key}.{name}") for key in ("step", "exp_avg", "exp_avg_sq")
            }
        return int(file.metadata()["step"])


def _tokenizer(settings: TrainingSettings, out: Path) -> PreTrainedTokenizerFast:
    """Return the tokenizer of the folder's checkpoint, or train one and save it there."""
    if (out / "tokenizer.json").exists():
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(out)
        return tokenizer
    rng = random.Random(settings.seed + 1)
    tokenizer = train_tokenizer(m["content"] for _ in range(20000) for m in dialogue(rng))
    tokenizer.save_pretrained(out)
    return tokenizer


def _backward(
    model: LlamaForCausalLM,
    ids: torch.Tensor,
    labels: torch.Tensor,
    parts: list[tuple[torch.Tensor, torch.Tensor]],
) -> float:
    """Add one part's gradient; return its share of the step's mean loss."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids).logits
    tokens = sum(int((other != _IGNORED).sum()) for _, other in parts)
    loss = F.cross_entropy(
        logits[:, :-1].float().flatten(0, 1),
        labels[:, 1:].flatten(),
        ignore_index=_IGNORED,
        reduction="sum",
    )
    (loss / tokens).backward()
    return loss.item() / tokens


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write an ordinary Hugging Face folder."""
    model.eval()
    model.generation_config.update(
        bos_token_id=1, eos_token_id=_END, pad_token_id=0, do_sample=True, top_p=0.9
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    parser.add_argument("--steps", type=int, default=TrainingSettings.steps)
    parser.add_argument("--seed", type=int, default=TrainingSettings.seed)
    options = parser.parse_args()
    train(TrainingSettings(seed=options.seed, steps=options.steps), options.out)


if __name__ == "__main__":
    main()
