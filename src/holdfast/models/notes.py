"""What every page says about a model that must not be taken for more than it is."""

from __future__ import annotations

NOTES = {
    "mini": "mini is a model organism: a 2.7M-parameter model of a small synthetic world, made "
    "so that every instrument moves on a laptop. It says nothing about large models."
}
