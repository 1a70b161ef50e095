"""Options that several commands have, said once: a name, a type and a sentence of help.

A command takes its own default. Where a command means something else by an option
it declares its own, beside its function.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# What answers.
Model = Annotated[str, typer.Option(help="mini, a folder, a hub id, or api:NAME.")]
LocalModel = Annotated[str, typer.Option(help="mini, a folder or a hub id.")]
UserModel = Annotated[str | None, typer.Option(help="Another model for the user's side.")]
JudgeModel = Annotated[str | None, typer.Option(help="A model for personas that a rubric judges.")]
TaskJudge = Annotated[
    str | None, typer.Option("--judge-model", help="A model for tasks that only a model can judge.")
]
BaseUrl = Annotated[
    str | None, typer.Option(help="Where api: models are served (OpenAI's protocol).")
]
ApiKey = Annotated[
    str | None,
    typer.Option(help="Its key; better in OPENAI_API_KEY, which no process list shows."),
]
Concurrency = Annotated[int, typer.Option(help="Requests to an API in flight.")]
Context = Annotated[
    int | None, typer.Option(help="Tokens that an API's model can see, where known.")
]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps…")]

Verify = Annotated[
    str | None,
    typer.Option(help="neutral: what is written under a persona is checked without it."),
]

# How it answers.
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]
TopP = Annotated[float, typer.Option(help="Nucleus.")]
TopK = Annotated[int, typer.Option(help="0 is off.")]
MaxNewTokens = Annotated[int, typer.Option(help="Tokens of a reply at most.")]

# Who talks to whom.
Pairs = Annotated[str, typer.Option(help="Pairs of personas to draw, or “all”.")]
Runs = Annotated[int, typer.Option(help="Probe answers drawn at each point.")]
Suite = Annotated[str | None, typer.Option(help="core, mini, a TOML file or a folder of them.")]
PersonaFile = Annotated[
    Path | None,
    typer.Option(help="A TOML file with your own personas for the agent."),
]
Agents = Annotated[
    list[str] | None, typer.Option(help="Only agents with this persona id (repeat).")
]
Users = Annotated[list[str] | None, typer.Option(help="Only users with this persona id (repeat).")]
Topic = Annotated[str | None, typer.Option(help="Starter of every conversation.")]

# The run.
Out = Annotated[Path | None, typer.Option(help="Folder of the run; the same command resumes it.")]
Seed = Annotated[int, typer.Option(help="Decides everything that is drawn.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

# Where it is done.
Ray = Annotated[
    str | None,
    typer.Option(help="Do the batches on a Ray cluster: auto, or its head's HOST:PORT."),
]
Shard = Annotated[
    str | None,
    typer.Option(help="Do this part of the batches only: 2/8. Without it again, they are merged."),
]
