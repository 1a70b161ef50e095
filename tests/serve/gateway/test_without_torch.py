"""`pip install 'holdfast[gateway]'` is enough for a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.request

MISSING = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "sklearn",
           "datasets", "huggingface_hub", "trl", "psutil")  # fmt: skip
PROGRAM = f"""
import sys
for name in {MISSING!r}:
    sys.modules[name] = None  # importing it fails
import holdfast.serve.gateway
from holdfast import cli
cli.main(["serve", "--upstream", "http://127.0.0.1:9/v1", "--persona", "mini:upper-1",
          "--control", "reminder:0.5", "--verify", "neutral", "--port", "0"])
"""


def test_a_gateway_starts_and_answers_where_torch_is_not_installed() -> None:
    settings = {**os.environ, "PYTHONUNBUFFERED": "1"}
    settings.pop("HOLDFAST_SERVE_KEY", None)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=settings,
    )
    timer = threading.Timer(120, process.kill)
    timer.start()
    try:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        with urllib.request.urlopen(url.replace("/v1", "/health"), timeout=30) as answer:
            assert answer.status == 200
    finally:
        timer.cancel()
        process.kill()
        process.wait()
