"""What a run determines, records and finds, as types: a module for each command.

A manifest says what was run, a record is one finished unit of it, a summary is what `--json`
prints and a page shows. They are frozen dataclasses; `core.records` writes and reads them.

This package computes nothing.
"""
