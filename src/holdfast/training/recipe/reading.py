"""What a recipe's file says, read before anything is trained: a wrong name is found here.

    title, method, model                what it is, permix or prism, what every arm begins with
    seeds, gpu_hours                    a training for each, and about how long it takes
    [train]                             settings of `permix train` or `prism train`
    [arms.NAME]                         settings that an arm differs by; one without any is the base
    [robustness], [fidelity]            settings of the commands that measure every arm of permix
    [evaluation]                        those of `prism eval`
    [groups]                            ids of held-out personas that are reported apart, by a name
    compare                             pairs of arms whose differences get intervals
    [[published]]                       the paper's figures: what, value, source
    known, unknown                      what is known of the original's settings and what is not

An arm with `match_tokens = {of = "permix", by = "rlvr"}` takes as many steps as give it the tokens
of one arm at the tokens that a step of another has. A file that is named in a recipe is looked for
beside it.

This module knows files and settings. It knows no trainings and no models.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import Field

from holdfast.core.errors import HoldfastError, suggestion
from holdfast.core.records import read_table
from holdfast.evals.fidelity.settings import FidelitySettings
from holdfast.evals.robustness.settings import RobustnessSettings
from holdfast.models.notes import own_source
from holdfast.persona import pool
from holdfast.persona.files import is_there, read_toml
from holdfast.results.training.recipe import PublishedFigure
from holdfast.training.permix.settings import PermixSettings
from holdfast.training.prism.settings import ARMS, PrismEvalSettings, PrismSettings

S = TypeVar("S")
TomlTable = Mapping[str, Any]
"""A table of settings, as the file has it."""
_FILES = ("tasks", "eval_tasks", "personas", "held_out", "suite")
_ELSEWHERE = {"permix": ("evaluation",), "prism": ("arms", "robustness", "fidelity", "groups")}
"""Tables that only the other method has."""


@dataclass(frozen=True)
class MatchedTokens:
    """Two arms before this one, which decide its steps."""

    of: str
    """The arm whose tokens it gets."""
    by: str
    """The arm whose tokens a step are taken for its own."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a recipe's file says."""

    title: str
    """What it reproduces."""
    method: Literal["permix", "prism"]
    """What is trained."""
    model: str
    """The model that every arm begins with."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """A training of every arm for each."""
    gpu_hours: float | None = None
    """About how long it takes on one GPU; an estimate."""
    known: str = ""
    """What is known of the original's settings."""
    unknown: str = ""
    """What is not."""
    published: tuple[PublishedFigure, ...] = ()
    """The paper's figures."""
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose differences get intervals; by default each with the first."""
    groups: Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]] = field(
        default_factory=dict
    )
    """Ids of held-out personas that are reported apart, by the name of their group."""
    train: TomlTable = field(default_factory=dict)
    """Settings of every training."""
    arms: Mapping[str, TomlTable] = field(default_factory=lambda: {"permix": {"arm": "permix"}})
    """Settings that each arm differs by."""
    robustness: TomlTable | None = None
    """Settings of the measurement; None for none."""
    fidelity: TomlTable | None = None
    """Likewise."""
    evaluation: TomlTable | None = None
    """Settings of `prism eval`."""

    def matched_tokens(self, arm: str) -> MatchedTokens | None:
        """The arms whose tokens decide an arm's steps."""
        table = self.arms[arm].get("match_tokens")
        where = f"match_tokens of {arm}"
        return None if table is None else read_table(MatchedTokens, table, where)

    def permix_settings(self, arm: str, seed: int, **changes: Any) -> PermixSettings:
        """The settings of an arm's training."""
        own = {name: value for name, value in self.arms[arm].items() if name != "match_tokens"}
        return settings_of(
            PermixSettings, self.train, own, {"seed": seed, **changes}, where=f"[arms.{arm}]"
        )

    def prism_settings(self, seed: int) -> PrismSettings:
        """The settings of a training of PRISM."""
        return settings_of(PrismSettings, self.train, {"seed": seed}, where="[train]")

    @property
    def robustness_settings(self) -> RobustnessSettings | None:
        """The settings of a measurement of robustness; None where there is none."""
        if self.robustness is None:
            return None
        # A trained model is no longer known by its name: every arm is asked what the first is.
        own = own_source(self.model)
        default = {"tasks": own, "personas": own}
        return settings_of(RobustnessSettings, default, self.robustness, where="[robustness]")

    @property
    def fidelity_settings(self) -> FidelitySettings | None:
        """The settings of a measurement of fidelity; None where there is none."""
        if self.fidelity is None:
            return None
        default = {"suite": own_source(self.model)}
        return settings_of(FidelitySettings, default, self.fidelity, where="[fidelity]")

    @property
    def evaluation_settings(self) -> PrismEvalSettings:
        """The settings of an evaluation of PRISM."""
        return settings_of(PrismEvalSettings, self.evaluation or {}, where="[evaluation]")


def read_recipe(path: Path, model: str | None = None) -> Recipe:
    """Read a recipe.

    Args:
        path: Its file.
        model: What every arm begins with, in place of the recipe's model.

    Raises:
        HoldfastError: The file is missing, or something in it is unknown, missing or wrong.
    """
    table = read_toml(path, "recipes", "name a TOML file, as in recipes/", HoldfastError)
    recipe = read_table(Recipe, table, str(path))
    if other := [name for name in _ELSEWHERE[recipe.method] if name in table]:
        raise HoldfastError(f"{path}: a recipe of {recipe.method} has no {other[0]}.")
    names = ("train", "robustness", "fidelity", "evaluation")
    tables: dict[str, Any] = {
        name: _resolve_files(path, one)
        for name in names
        if (one := getattr(recipe, name)) is not None
    }
    arms = {name: _resolve_files(path, one) for name, one in recipe.arms.items()}
    recipe = replace(recipe, **tables, arms=arms, model=model or recipe.model)
    try:
        _check(recipe)
    except HoldfastError as error:
        raise type(error)(f"{path}: {error}") from error
    return recipe


def _resolve_files(path: Path, table: TomlTable) -> TomlTable:
    """The table with the files that are beside the recipe found there."""
    return {
        name: str(path.parent / value)
        if name in _FILES and isinstance(value, str) and is_there(path.parent / value)
        else value
        for name, value in table.items()
    }


def _check(recipe: Recipe) -> None:
    """Refuse settings, arms and personas that there are not."""
    where = {"[train]": recipe.train, **{f"[arms.{n}]": one for n, one in recipe.arms.items()}}
    if with_seed := [name for name, table in where.items() if "seed" in table]:
        raise HoldfastError(f"{with_seed[0]} has a seed: the recipe's seeds stand in `seeds`.")
    if len(set(recipe.seeds)) < len(recipe.seeds):
        raise HoldfastError(f"a seed is named twice in {list(recipe.seeds)}.")
    if recipe.method == "prism":
        _check_table("[train]", recipe.prism_settings(0))
        _check_table("[evaluation]", recipe.evaluation_settings)
        _check_pairs(recipe, ARMS)
        return
    settings_of(PermixSettings, recipe.train, where="[train]")
    _check_arms(recipe)
    if (robustness := recipe.robustness_settings) is not None:
        _check_table("[robustness]", robustness)
    if (fidelity := recipe.fidelity_settings) is not None:
        _check_table("[fidelity]", fidelity)
    if recipe.groups:
        if robustness is None:
            raise HoldfastError("[groups] are of [robustness], which is not there.")
        source = str(robustness.personas)
        pool_ids = {one.id for one in pool.load(source, split=robustness.split)}
        if missing := [one for ids in recipe.groups.values() for one in ids if one not in pool_ids]:
            which = "" if robustness.split == "all" else f"of the split {robustness.split} "
            raise HoldfastError(f"{missing[0]}, of a group, is no persona {which}of {source}.")


def _check_table(where: str, settings: Any) -> None:
    """Check the settings of a table, which errors name."""
    try:
        settings.check()
    except HoldfastError as error:
        raise type(error)(f"{where}: {error}") from error


def _check_arms(recipe: Recipe) -> None:
    if not recipe.arms:
        raise HoldfastError("[arms] is empty: name an arm, as [arms.permix].")
    before = list[str]()
    for arm in recipe.arms:
        if arm in ("", ".", "..") or Path(arm).name != arm:
            raise HoldfastError(f"an arm is the name of a folder, which {arm!r} is not.")
        match = recipe.matched_tokens(arm)
        trained_arms = [one for one in before if recipe.arms[one]]
        late = [one for one in (match.of, match.by) if one not in trained_arms] if match else []
        if late:
            raise HoldfastError(f"{arm} matches the tokens of {late[0]}, no trained arm before it.")
        _check_table(f"[arms.{arm}]", recipe.permix_settings(arm, recipe.seeds[0]))
        before.append(arm)
    _check_pairs(recipe, before)


def _check_pairs(recipe: Recipe, arms: Collection[str]) -> None:
    if unknown := [name for pair in recipe.compare for name in pair if name not in arms]:
        hint = suggestion(unknown[0], arms)
        raise HoldfastError(f"there is no arm {unknown[0]} to compare: {hint}")


def settings_of(kind: type[S], *tables: TomlTable, where: str) -> S:
    """Settings from tables of a recipe, where fields of inner settings are named alike.

    Args:
        kind: The dataclass of the settings.
        tables: The tables; what a later one says goes before.
        where: Names the last of them in errors.

    Raises:
        HoldfastError: A name is no field, or a value is of another type.
    """
    values = {name: value for table in tables for name, value in table.items()}
    names = list(_names(kind))
    if unknown := sorted(values.keys() - set(names)):
        hint = suggestion(unknown[0], names)
        raise HoldfastError(f"{where}: there is no {unknown[0]}: {hint}")
    settings: S = _fill(kind, values, where)
    return settings


def _names(kind: Any) -> Iterator[str]:
    """The settings of a dataclass and of those within it."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        yield from _names(hints[one.name]) if is_dataclass(hints[one.name]) else (one.name,)


def _fill(kind: Any, values: TomlTable, where: str) -> Any:
    hints, own = get_type_hints(kind), dict(values)
    inner = {
        one.name: {name: own.pop(name) for name in _names(hints[one.name]) if name in own}
        for one in fields(kind)
        if is_dataclass(hints[one.name])
    }
    parts = {name: _fill(hints[name], part, where) for name, part in inner.items() if part}
    return replace(read_table(kind, own, where), **parts)
