"""What a training of an adapter with its gate will take, from a measured step.

Half of the queries are taken to be wins, which is about what the paper reports (282 of 600).
"""

from __future__ import annotations

from holdfast.models.local.backend import LocalBackend
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.estimate import BYTES, GB, measure
from holdfast.training.prism.distillation import Distillation
from holdfast.training.prism.queries import distinct_queries, queries_from_tasks, query_text
from holdfast.training.prism.stages import Training
from holdfast.training.step_memory import lora_parameters, step_memory

WINS = 0.5
_QUERY = 64  # tokens that a query is taken to have that is still to be written
_COMPARING = 96  # tokens around a query and two answers that are compared


def estimate_training(training: Training) -> TrainingEstimate:
    """What the stages will take, every answer as long as the settings allow."""
    backend, settings, experts = training.model, training.settings, training.experts
    longest = settings.max_new_tokens
    question: float = _QUERY
    if training.tasks:
        distinct = distinct_queries(list(queries_from_tasks(training.tasks, experts)))
        queries, drafts = len(distinct), 0
        question = sum(len(backend.encode(query_text(one))) for one in distinct) / len(distinct)
    else:
        queries = drafts = settings.queries * len(experts)
    verdicts = 2 * queries if training.needs_comparer else 0
    persona = sum(len(backend.encode(one.full)) for one in experts) / len(experts)
    prompt = persona + question
    reads = drafts * prompt + queries * (prompt + question)
    reads += verdicts * (question + 2 * longest + _COMPARING)
    writes = drafts * longest + 2 * queries * longest + verdicts * 8
    distillation = Distillation.of(settings, backend)
    wins = WINS * queries
    # Teacher and student read each win in each epoch; a backward pass is two passes.
    passes = distillation.epochs * wins * ((prompt + longest) + 3 * (question + longest))
    speed = measure(backend)
    learns = lora_parameters(backend.engine.model, distillation.rank) * 4
    return TrainingEstimate(
        prompts=drafts + 2 * queries + verdicts,
        tokens=round(reads + writes + passes),
        memory_gb=round(_memory(backend, distillation, persona, question, longest) / GB, 4),
        disk_gb=round((learns + BYTES * (reads + writes)) / GB, 4),
        seconds=round(writes * speed.write_seconds + (reads + passes) * speed.pass_seconds, 1),
    )


def _memory(
    backend: LocalBackend,
    distillation: Distillation,
    persona: float,
    question: float,
    longest: int,
) -> float:
    model = backend.engine.model
    answer = max(1, min(longest, round(distillation.max_length - persona - question)))
    # Teacher's and student's logits and their gradient in the model's format, and probabilities in
    # float32, which `top` keeps to a few tokens. Four wins of 200 tokens on SmolLM2-135M took 2.82
    # GB at the peak where this says 2.98, and 2.33 for 2.45 with the top 64.
    copies = 4 * model.dtype.itemsize + (0 if distillation.top else 3 * 4)
    return step_memory(
        backend,
        rank=distillation.rank,
        rows=distillation.rows,
        tokens=min(round(question) + answer, distillation.max_length),
        scored_tokens=distillation.rows * answer,
        scored_bytes=copies * int(model.config.get_text_config().vocab_size),
    )
