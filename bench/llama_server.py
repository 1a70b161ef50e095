"""llama.cpp's server of a GGUF file, from the wheels of `xllamacpp`: they have no command for it.

python llama_server.py --model FILE --threads N --slots N --tokens N --port N
"""

from __future__ import annotations

import argparse
import signal

import xllamacpp


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True)
    for name in ("port", "threads", "slots", "tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    settings = xllamacpp.CommonParams()
    settings.model.path = options.model
    settings.hostnames = ["127.0.0.1"]
    settings.port = options.port
    settings.n_parallel, settings.n_ctx = options.slots, options.slots * options.tokens
    settings.n_gpu_layers = 0
    settings.use_jinja = True  # the model's own chat template
    for part in (settings.cpuparams, settings.cpuparams_batch):
        part.n_threads = options.threads
    server = xllamacpp.Server(settings)
    print(f"ready at {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
