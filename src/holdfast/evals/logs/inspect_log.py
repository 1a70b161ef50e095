"""Logs of Inspect (`.eval`, or its JSON), read by Inspect itself: a sample is a chat."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from holdfast.core.errors import HoldfastError
from holdfast.core.extras import install
from holdfast.evals.logs.chat import RecordedChat, Unfit, read_messages
from holdfast.evals.logs.lines import ZIP
from holdfast.results.recorded.log import BadLine

PACKAGE = "inspect_ai"


def read_inspect(path: Path) -> Iterator[RecordedChat | BadLine]:
    """The samples of a log, each with the messages that its model saw.

    Raises:
        HoldfastError: Inspect is not installed, or cannot read the file.
    """
    if find_spec(PACKAGE) is None:
        raise HoldfastError(
            f"{path} is a log of Inspect, which needs inspect-ai: {install('inspect')}."
        )
    from inspect_ai.log import read_eval_log

    try:
        with path.open("rb") as file:
            kind = "eval" if file.read(len(ZIP)) == ZIP else "json"
        log = read_eval_log(path, resolve_attachments=True, format=kind)  # type: ignore[arg-type]
    except Exception as error:  # a damaged zip, JSON or log fails in many ways there
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise HoldfastError(f"{path} is no log that Inspect can read ({reason}).") from error
    for sample in log.samples or ():
        where = f"{path}, sample {sample.id}, epoch {sample.epoch}"
        messages = [{"role": one.role, "content": one.text} for one in sample.messages]
        user_prompt = sample.metadata.get("user_prompt")
        try:
            system, turns = read_messages(messages)
            yield RecordedChat(
                turns,
                where,
                system=system,
                id=f"{sample.id}/{sample.epoch}",
                user_prompt=user_prompt if isinstance(user_prompt, str) else None,
                model=log.eval.model,
            )
        except Unfit as why:
            yield BadLine(where, str(why))
