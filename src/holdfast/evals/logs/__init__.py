"""Logs of conversations that took place elsewhere, in the formats of many tools."""
