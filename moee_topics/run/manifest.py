"""``run.json``: who ran what on what, with which versions, and how long it took."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moee_topics import __version__
from moee_topics.defaults import STORE_NAME
from moee_topics.encode import TokenCounts
from moee_topics.errors import InputError
from moee_topics.remote import without_query
from moee_topics.run.ledger import fingerprint
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder, run_command
from moee_topics.store import key_digest

PACKAGES = (
    "torch",
    "transformers",
    "bitsandbytes",
    "bertopic",
    "umap-learn",
    "hdbscan",
    "scikit-learn",
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "plotly",
)


def write_manifest(work: Workspace, *, finished: bool) -> None:
    """Writes the manifest of a run as far as it has come."""
    recipe, records, tokens = work.recipe.to_json(), work.ledger.records, work.ledger.facts("embed")
    recipe["corpus"]["source"] = without_query(recipe["corpus"]["source"])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        created = work.run.manifest.get("created")
    except InputError:  # damaged: it is being written anew
        created = None
    entries = []
    for record in records.values():  # a fit is listed by its steps
        steps = record.facts.get("steps") or {record.name: record.seconds}
        entries += [{"name": name, "seconds": took, "skipped": record.skipped} for name, took in steps.items()]
    manifest = {
        "name": work.folder.name,
        "created": created or now,
        "finished": now if finished else None,
        "versions": versions(),
        "seed": work.recipe.seed,
        "recipe": recipe,
        "encoder": encoder_facts(work),
        "fusion": {**recipe["fusion"], "dimensions": work.ledger.facts("fit").get("dimensions")},
        "corpus": {**work.survey.to_json(), **{name: tokens.get(name, 0) for name in asdict(TokenCounts())}},
        "store": remembered_store(work.store, work.run.root.path),
        "stages": entries,
        "left_out": work.ledger.facts("fit").get("left_out", {}),
        "peak_memory_bytes": max((record.peak_memory_bytes for record in records.values()), default=0),
        "hashes": {
            "corpus": work.survey.digest,
            "store": key_digest(work.embedder.key),
            "recipe": fingerprint(recipe),
        },
    }
    RunFolder.manifest.write(work.run, manifest)


def remembered_store(store: Path, folder: Path) -> str:
    """Where a store is, as seen from the folder of a run; in full where both share no more than the disk."""
    store, folder = (Path(os.path.normpath(path.absolute())) for path in (store, folder))
    for steps, shared in enumerate([folder, *folder.parents][:-1]):
        if store.is_relative_to(shared):  # so that a project can be moved as a whole
            return "/".join([".."] * steps + list(store.relative_to(shared).parts))
    return store.as_posix()


def store_of(run: RunFolder) -> Path:
    """The store that a run, or a version of it, was encoded into.

    ``store`` beside the run's folder where that is gone, and where nothing is remembered: before the first run, of a
    run of an earlier version, and where the manifest is damaged, which a run writes anew.
    """
    try:
        remembered = run.manifest.get("store")
    except InputError:
        remembered = None
    beside, places = f"../{STORE_NAME}", [remembered] if isinstance(remembered, str) else []
    # By its name alone: ".." of a folder that is a link would be beside what it leads to.
    found = [Path(os.path.normpath(run.root.path / place)) for place in (*places, beside)]
    return next((place for place in found if place.is_dir()), found[-1])


def read_manifest(run: RunFolder) -> Mapping[str, Any]:
    """The manifest of a finished run.

    Raises:
        InputError: the folder holds none.
    """
    if not run.manifest:
        raise InputError(
            f"{run.path} holds no finished run: run.json is missing. Make one with: moee-topics run RECIPE"
        )
    return run.manifest


def recipe_section(run: RunFolder, name: str) -> Mapping[str, Any]:
    """A section of the recipe that a finished run was made by, as plain data; empty where an older version had none.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    recipe = read_manifest(run).get("recipe") or {}
    section = recipe.get(name, {}) if isinstance(recipe, Mapping) else None
    if not isinstance(section, Mapping):  # a run of 0.1.0 has no digest that would have told it
        raise InputError(
            f"{RunFolder.manifest.path(run)} is damaged: recipe.{name} is no section of a recipe. "
            f"Make it again with: {run_command(run.path)}"
        )
    return section


def encoder_facts(work: Workspace) -> dict[str, Any]:
    """The encoder as the manifest describes it, in one order whether it was loaded or not."""
    settings, key = work.recipe.encoder, work.embedder.key
    asked: dict[str, Any] = {"source": settings.model, "prompt": settings.prompt, "template": settings.template}
    if settings.prompts:
        asked = {"source": settings.model, "prompts": list(settings.prompts), "templates": list(settings.templates)}
    chosen = {"arithmetic": work.ledger.facts("embed").get("arithmetic")}
    return {**dict(sorted(key.items())), **chosen, **asked, **work.encoder.facts()}


def versions() -> dict[str, str]:
    """The versions of Python, this package and what it stands on."""
    installed = {"python": platform.python_version(), "moee_topics": __version__}
    for package in PACKAGES:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # bitsandbytes has no wheel everywhere
            continue
    return installed
