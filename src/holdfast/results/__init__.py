"""What a run determines, records and finds, as types: a module for each command.

A manifest says what was run, a record is one finished unit of it, a summary is what `--json`
prints and a page shows. All are frozen dataclasses whose fields are the keys of the JSON object,
in order: `core.records` writes them and reads them back. A field made by `optional_field()` is left
out while it is None. A summary is made of parts: a field made by `inline_field()` holds a dataclass
whose keys stand in the object itself: `DriftSummary.curves.stability` is the key "stability".
What several commands have stands once: conversations in `conversation`, verdicts of a judge model
in `verdict`.

To give a command its types: open its run as `Run[MyRecord, JudgeVerdict](out, MyManifest(…),
MyRecord, JudgeVerdict)` (or `open_run`, where a run can be shared out); append records as objects;
compute a `MySummary` from `run.records`, which are objects too, also after a resume; hand the
summary to `run.finish`, to the page, and to the caller. `--json` prints `as_record(summary)`.
Tests that describe a record as JSON read it with `read_record(MyRecord, {…})`.

This package computes nothing.
"""
