"""`holdfast models`: small chat models by short names, and their files."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from holdfast.cli import session

app = typer.Typer(
    help="List small chat models with short names, and bring one here.", no_args_is_help=True
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Print the short names, their hub ids, licences and sizes, and what is here already."""
    from holdfast.models.catalogue import CATALOGUE, MINI
    from holdfast.models.fetch import find_local_path

    rows = [
        {
            "name": "mini",
            "hub": None,
            "licence": "apache-2.0",
            "parameters": "2.7M",
            "size_gb": 0.01,
            "package": None,
            "sha256": None,
            "file": str(MINI),
        }
    ]
    rows += [
        {
            "name": model.name,
            "hub": model.hub,
            "licence": model.licence,
            "parameters": model.parameters,
            "size_gb": model.size,
            "package": model.package.requirement if model.package else None,
            "sha256": model.package.sha256 if model.package else None,
            "file": str(path) if (path := find_local_path(model)) else None,
        }
        for model in CATALOGUE
    ]
    lines = (
        f"{row['name']:<20}{row['parameters']:>6}{row['size_gb']:>6} GB  "
        f"{row['licence']:<12}{row['hub'] or 'in this package'}{'  here' if row['file'] else ''}"
        for row in rows
    )
    session.print_result({"models": rows}, lines, as_json)


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="A short name of `holdfast models list`.")],
    as_json: AsJson = False,
) -> None:
    """Download a model, from the hub or from its package, and print where it is.

    Standard error has its licence and the SHA-256 of its weights.
    """
    from holdfast.models.catalogue import find_model
    from holdfast.models.fetch import fetch, hash_weights

    model = find_model(name)
    path = fetch(model)
    hashes = hash_weights(path)
    if as_json:
        about = {"name": model.name, "hub": model.hub, "licence": model.licence}
        session.print_json({**about, "path": str(path), "sha256": hashes})
        return
    lines = [f"licence {model.licence}", *(f"{one}  {file}" for file, one in hashes.items())]
    print(*lines, sep="\n", file=sys.stderr)
    print(path)
