"""`holdfast serve`: a persona that holds, behind OpenAI's chat completions."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import options
from holdfast.cli.options.flatten import flatten_options
from holdfast.core.control import Control, parse
from holdfast.core.errors import ModelError, ServiceError
from holdfast.core.extras import extra_of, install

if TYPE_CHECKING:
    from fastapi import FastAPI

    from holdfast.serve.gateway.rewriting import ChooseAdapter
    from holdfast.serve.live.traffic import LiveSettings

KEY = "HOLDFAST_SERVE_KEY"
UPSTREAM_KEY = "HOLDFAST_UPSTREAM_KEY"
PATIENCE, RETRIES = 600.0, 1
"""Seconds and further tries that an API gets by default."""


@flatten_options
def serve(
    *,
    model: options.LocalModel = "mini",
    upstream: Annotated[
        str | None,
        typer.Option(help="Base URL of an OpenAI-compatible API to pass everything on to."),
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option(help=f"Its key; better in {UPSTREAM_KEY}. Without one, clients send theirs."),
    ] = None,
    persona: Annotated[
        str | None,
        typer.Option(
            help="Goes before every chat: a TOML file with one persona or every_reply, or FILE:ID."
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="A system prompt, or @FILE with one, that goes before every chat."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="A character card (JSON, PNG or CHARX) that goes before every chat."),
    ] = None,
    control: Annotated[str, typer.Option(help="Control of requests that choose none.")] = "none",
    lock: Annotated[
        bool | None,
        typer.Option(
            "--lock/--no-lock",
            help="Refuse requests that choose another control; by default with --persona behind "
            "--upstream or keys.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(help="neutral: --upstream's replies under a persona are checked without it."),
    ] = None,
    pass_through: Annotated[
        list[str] | None,
        typer.Option(
            help="Path that --upstream gets as it is (repeat): /v1/files, `DELETE /v1/files/*`."
        ),
    ] = None,
    upstream_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds until --upstream answers or goes on.")
    ] = PATIENCE,
    upstream_retries: Annotated[
        int, typer.Option(min=0, max=10, help="Tries more if --upstream is away or says 503.")
    ] = RETRIES,
    lora: Annotated[
        str | None,
        typer.Option(help="Name of prism:PATH's adapter at --upstream; by default the folder's."),
    ] = None,
    host: Annotated[str, typer.Option(help="Any but loopback demands a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    tenants: Annotated[
        Path | None,
        typer.Option(help="TOML file of aliases, routes and keys; read again when it changes."),
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(help=f"What clients must send (repeat); better in {KEY}, commas between."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may call this server (repeat): https://bot.example."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Replies under way at once.")] = 64,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; then 429.")] = 256,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request at most.")] = 2 << 20,
    max_context: Annotated[
        int | None, typer.Option(min=1, help="Tokens of a chat at most; by default the model's.")
    ] = None,
    cache: Annotated[
        int | None,
        typer.Option(min=0, help="MiB of keys and values kept for chats that go on."),
    ] = None,
    log_prompts: Annotated[bool, typer.Option(help="Log what is said, too.")] = False,
    traffic_log: Annotated[
        Path | None,
        typer.Option(help="JSONL file with round and score of every reply (holdfast watch)."),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(help="URL that gets an alarm where --persona drifts.")
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(help="api:NAME, which judges a sample where --persona has a rubric."),
    ] = None,
    loading: options.LocalOptions,
) -> None:
    """Serve a model, or another API, under a persona and a control (OpenAI's protocol)."""
    # Long: one parameter for each option.
    if any(not key.strip() for key in api_key or ()):  # such as of a variable that is not set
        raise ServiceError("--api-key is empty: give a key, or leave it out.")
    api_keys = [*(api_key or []), *os.environ.get(KEY, "").split(",")]
    keys = [key.strip() for key in api_keys if key.strip()]
    try:
        from holdfast.serve.limits import LOOPBACK, Limits
        from holdfast.serve.tenants.live import LiveTenants
    except ModuleNotFoundError as missing:
        if upstream is not None or extra_of(missing) is None:
            raise
        raise ServiceError(
            f"a server of {model} needs {missing.name}, and what runs a model on this machine: "
            f"{install('serve', 'local')}."
        ) from missing

    live = LiveTenants(tenants)
    has_keys = bool(keys or live.current.keys)
    default_control = parse(control)
    if lora and not (upstream is not None and default_control.prism):
        raise ServiceError("--lora names an adapter of --upstream for --control prism:PATH.")
    _check_place(
        upstream is not None,
        there={
            "verify": verify,
            "pass-through": pass_through,
            "upstream-key": upstream_key,
            "upstream-timeout": None if upstream_timeout == PATIENCE else upstream_timeout,
            "upstream-retries": None if upstream_retries == RETRIES else upstream_retries,
        },
        here={
            "template-option": loading.template_options(),
            "max-context": max_context,
            "cache": cache,
            "base": loading.base,
            # The gate of prism:PATH runs here, on the first layer of the model.
            **({} if default_control.prism else _loading_options(model, loading)),
        },
    )
    if host not in LOOPBACK and not has_keys:
        raise ServiceError(
            f"{host} can be reached from other machines, which demands a key: set {KEY}, or leave "
            "--host out."
        )
    limits = Limits(
        body=max_body,
        context=max_context,
        concurrency=concurrency,
        queue=queue,
        hosts=LOOPBACK if not has_keys else (),
        origins=tuple(origin or ()),
    )
    own_persona = options.PersonaSource(prompt=prompt, card=card).as_one(persona)
    if own_persona is None and tenants is None:
        _check_persona_options(
            {"traffic-log": traffic_log, "webhook": webhook, "judge-model": judge_model}
        )
    with _listen(host, port) as listener:
        common: dict[str, Any] = {
            "persona": own_persona,
            "control": default_control,
            "lock": lock,
            "keys": keys,
            "limits": limits,
            "log_prompts": log_prompts,
            "tenants": live,
            "traffic": _live(traffic_log, log_prompts, webhook, judge_model),
        }
        if upstream is not None:
            from holdfast.serve.gateway import Upstream, create_gateway

            key = upstream_key or os.environ.get(UPSTREAM_KEY)
            app = create_gateway(
                Upstream(upstream, key, upstream_timeout, upstream_retries),
                **common,
                verify=verify,
                pass_through=pass_through or (),
                choose=_adapter_choice(default_control, lora, model, loading),
            )
        else:
            app = _local(model, loading, None if cache is None else cache << 20, common)
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        print(f"The page to try it in a browser is {address}/.", file=sys.stderr)
        print(f"{address}/v1", flush=True)
        from holdfast.serve.server import run

        run(app, listener)


def _check_place(
    behind_upstream: bool, there: Mapping[str, object], here: Mapping[str, object]
) -> None:
    """Raise `ServiceError` for an option that would be ignored.

    Args:
        behind_upstream: whether the model runs behind another API.
        there: options that need such an API.
        here: options of a model that this server has.
    """
    for name, value in (here if behind_upstream else there).items():
        if value in (None, {}):
            continue
        if behind_upstream:
            raise ServiceError(f"--{name} is the server's behind --upstream: set it there.")
        raise ServiceError(f"--{name} is for an --upstream: name one, or leave it.")


def _loading_options(model: str, loading: options.LocalOptions) -> dict[str, object]:
    """The options that say which model this server loads and how; None for a default."""
    options = {"model": (model, "mini"), "dtype": (loading.dtype, "auto")}
    options["device"] = (loading.device, "auto")
    return {name: None if value == usual else value for name, (value, usual) in options.items()}


def _check_persona_options(options: Mapping[str, object]) -> None:
    """Raise `ServiceError` for an option about replies under a persona, where there is none."""
    for name, value in options.items():
        if value is not None:
            raise ServiceError(
                f"--{name} is about replies under a persona: name one with --persona, --prompt, "
                "--card or --tenants, or leave it."
            )


def _adapter_choice(
    control: Control, lora: str | None, model: str, loading: options.LocalOptions
) -> ChooseAdapter | None:
    """Which adapter of the API answers a chat; None unless the control is `prism:PATH`."""
    if control.prism is None:
        return None
    try:
        from holdfast.serve.gateway.adapter_choice import AdapterChoice
    except ModuleNotFoundError as missing:
        raise ModelError(
            f"the gate of `{control.text}` needs {missing.name}: {install('gateway', 'local')}."
        ) from missing

    choice = AdapterChoice(
        Path(control.prism),
        lora=lora,
        base=None if model == "mini" else model,
        dtype=loading.dtype,
        device="cpu" if loading.device == "auto" else loading.device,
    )
    print(f"where the gate says so, requests go to the model {choice.lora}", file=sys.stderr)
    return choice.choose


def _local(
    model: str, loading: options.LocalOptions, cache: int | None, common: Mapping[str, Any]
) -> FastAPI:
    from holdfast.models import load as models

    if model.startswith(models.BEHIND_URL):
        raise ModelError(f"{model} is behind an API: serve it with --upstream URL.")
    outline = models.import_local(model).outline
    from holdfast.serve.app import create_app
    from holdfast.serve.engine.process import EngineProcess
    from holdfast.serve.engine.worker import EngineSpec, load_engine

    spec = EngineSpec(
        model,
        common["limits"].concurrency,
        loading.dtype,
        loading.device,
        cache,
        base=loading.base,
        options=loading.template_options(),
    )
    if common["control"].prism is not None:  # whose gate and adapter are in the model
        return create_app(load_engine(spec), **common)
    # First: what is not there is said sooner.
    backend = outline(model, options=spec.options, base=spec.base)
    return create_app(backend, **common, remote=EngineProcess(spec))


def _live(
    log: Path | None, texts: bool, webhook: str | None, judge_model: str | None
) -> LiveSettings:
    from holdfast.models import load as models
    from holdfast.serve.live.traffic import LiveSettings

    if judge_model is not None and not judge_model.startswith(models.API):
        raise ModelError("--judge-model is a model behind an API: api:NAME.")
    judge = models.load(judge_model) if judge_model else None
    return LiveSettings(log=log, texts=texts, webhook=webhook, judge_model=judge)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # what follows is the address again
        raise ServiceError(
            f"{host}:{port} cannot be listened on ({why}): choose another --port or --host."
        ) from error
