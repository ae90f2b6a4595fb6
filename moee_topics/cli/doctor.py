"""Checks of this machine and installation, in seconds: what works here, what does not, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from moee_topics.encode import POCKET, Check, guarded

# The versions that the tests ran with.
TESTED = {
    "torch": "2.13",
    "transformers": "5.23",
    "bitsandbytes": "0.50",
    "safetensors": "0.8",
    "bertopic": "0.17",
    "umap-learn": "0.5",
    "hdbscan": "0.8",
    "scikit-learn": "1.9",
    "numpy": "2.4",
}

# Values of topics.tokenizer: the language, the extra of this package that brings it, and what that installs.
TOKENIZERS = {
    "jieba": ("Chinese", "chinese", ("jieba",)),
    "sudachi": ("Japanese", "japanese", ("sudachipy", "sudachidict-core")),
    "pythainlp": ("Thai", "thai", ("pythainlp",)),
}

GB = 1e9
# OLMoE-1B-7B in nf4 takes 3.7 GB of tensors and was seen to take 5.7 GB at work (benchmarks/LOG.md).
MEMORY_FOR_OLMOE = 6 * GB
# The embedded model takes 1.3 GB at work (benchmarks/LOG.md); the rest is for the topic model.
MEMORY_FOR_POCKET = 2 * GB


def run_checks() -> list[Check]:
    """Runs every check; a check that fails by an error is reported as failed, with the error as its detail."""
    checks = [guarded(check) for check in (versions, memory, disk, hub, embedded_model, tokenizers)]
    try:
        from moee_topics.encode import machine_checks, proof_checks
    except (ImportError, OSError) as error:  # a torch whose libraries do not fit this machine
        return [*checks, Check("torch", False, f"{type(error).__name__}: {error}", "Install torch again.")]
    return [*checks, *machine_checks(), *proof_checks()]


def versions() -> Check:
    """Python and packages beside the versions that the tests ran with."""
    installed = {name: installed_version(name) for name in TESTED}
    missing = [name for name, version in installed.items() if not version]
    other = [f"{n} {v} (tested: {TESTED[n]})" for n, v in installed.items() if v and not v.startswith(f"{TESTED[n]}.")]
    # Another version is no fault either: it is only one that nobody has tested.
    detail = f"Python {platform.python_version()}; " + ("; ".join(other) if other else "all packages as tested")
    if missing:
        return Check("versions", False, f"{detail}; missing: {', '.join(missing)}", "pip install moee-topics")
    return Check("versions", True, detail, "If a check below fails, install the tested versions." if other else "")


def installed_version(package: str) -> str:
    """The version of a package, read without importing it; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def memory() -> Check:
    """Whether OLMoE-1B-7B in nf4 fits; the embedded model needs far less."""
    import psutil

    free = psutil.virtual_memory().available
    # Too little for OLMoE is no fault where the embedded model is used.
    enough = free >= MEMORY_FOR_OLMOE
    advice = f"OLMoE-1B-7B in nf4 works in {MEMORY_FOR_OLMOE / GB:.0f} GB; free some, or use the embedded model."
    return Check("memory", free >= MEMORY_FOR_POCKET, f"{free / GB:.1f} GB free", "" if enough else advice)


def disk() -> Check:
    """Room for embedding stores and runs in the working folder."""
    free = shutil.disk_usage(Path.cwd()).free
    ok = free >= GB
    return Check("disk", ok, f"{free / GB:.1f} GB free in {Path.cwd()}", "" if ok else "Free at least 1 GB.")


def hub() -> Check:
    """Whether models can be downloaded, and where they are kept."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    place = f"cache {cache}" + ("" if cache.exists() else " (not there yet)")
    if constants.HF_HUB_OFFLINE:
        return Check(
            "hub", True, f"offline (HF_HUB_OFFLINE is set), {place}", "Unset HF_HUB_OFFLINE to download models."
        )
    # The cache is made with the first download, so its nearest folder that exists is asked.
    existing = next(folder for folder in [cache, *cache.parents] if folder.exists())
    ok = os.access(existing, os.W_OK)
    return Check(
        "hub", ok, f"online, {place}", "" if ok else f"Set HF_HOME to a folder you can write; {existing} is not."
    )


def embedded_model() -> Check:
    """Whether the model that the package carries is complete."""
    missing = [name for name in ("config.json", "tokenizer.json") if not (POCKET / name).is_file()]
    weights = [path.stem for path in POCKET.glob("*.safetensors")]
    # The name of a file of weights ends in how many there are: model-00001-of-00002.
    expected = max((int(stem.rpartition("-of-")[2]) for stem in weights if "-of-" in stem), default=1)
    if len(weights) < expected:
        missing.append(f"{expected - len(weights)} of {expected} files of weights")
    detail = f"missing in {POCKET}: {', '.join(missing)}" if missing else "complete"
    return Check("embedded model", not missing, detail, "Install the package again." if missing else "")


def tokenizers() -> Check:
    """Which languages that are written without spaces can be cut into words here."""
    lacking = {name: facts for name, facts in TOKENIZERS.items() if not all(map(installed_version, facts[2]))}
    states = [f"{facts[0]}: {'none' if name in lacking else name}" for name, facts in TOKENIZERS.items()]
    extras = ",".join(extra for _, extra, _ in lacking.values())
    values = ", ".join(f"{name} ({facts[0]})" for name, facts in lacking.items())
    advice = f"For such texts: pip install 'moee-topics[{extras}]', then topics.tokenizer={values}."
    # No fault: most corpora are in no such language, and a run of one that is tells it too.
    return Check("tokenizers", True, ", ".join(states), advice if lacking else "")
