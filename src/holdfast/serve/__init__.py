"""Personas that hold, in production: OpenAI's chat completions over a model here or elsewhere.

`create_app` serves a model on this machine, `create_gateway` any OpenAI-compatible API.
"""
