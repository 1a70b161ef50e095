"""Warnings that every page shows with the results of a model."""

from __future__ import annotations

NOTES: dict[str, str] = {
    "mini": "mini is a model organism: a 2.7M-parameter model of a small synthetic world, made "
    "so that every instrument moves on a laptop. It says nothing about large models."
}
