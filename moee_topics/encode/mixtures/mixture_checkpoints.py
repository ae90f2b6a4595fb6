"""From names to folders: a dense decoder carved into a mixture, and a mixture taught by its parent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Glm4MoeModel, PreTrainedModel

from moee_topics.encode.mixtures import carving, donors
from moee_topics.encode.mixtures.dense_mixture import undensified
from moee_topics.encode.mixtures.distillation import Trainer, settled
from moee_topics.encode.mixtures.finished_layers import FinishedLayers
from moee_topics.encode.mixtures.passages import tokenized
from moee_topics.encode.mixtures.settings import CALIBRATION_TOKENS, CarveSettings, DistilSettings
from moee_topics.encode.mixtures.shingles import HeldOut
from moee_topics.encode.models.loading import load_model, quiet
from moee_topics.encode.quantization import int4_checkpoint
from moee_topics.encode.quantization.int4_checkpoint import write_compact
from moee_topics.encode.router import ROUTER_STRENGTH
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import ModelError
from moee_topics.store import atomic_folder, refuse_existing, refuse_too_small, write_json

_COMPARED = 32
"""Texts whose means are compared with the dense model's; the first it was carved by, so the number is optimistic."""

TRAINED_STRENGTH = 0.3
"""Scale of the router's logits, relative to the log of the contributions, from which distillation starts."""


def carve_checkpoint(
    source: str | Path,
    folder: Path,
    texts: Iterable[str],
    settings: CarveSettings,
    *,
    tokens: int = CALIBRATION_TOKENS,
    vocabulary: int = 0,
    held_out: Iterable[str] = (),
    progress: Callable[[int, int, str], None] = lambda done, total, unit: None,
) -> dict[str, Any]:
    """Carves a dense decoder and writes the mixture; goes on with the layers that an interrupted call left to do.

    Args:
        source: hub name, folder or ``.gguf`` file.
        folder: the new folder.
        texts: neutral texts, not those that are to be clustered later.
        settings: the shape.
        tokens: how many to look at.
        vocabulary: keep the first so many tokens of the vocabulary; 0 for all.
        held_out: texts the mixture will be judged on; what is a near-copy of one is left out.
        progress: told the layers that are done.

    Returns:
        What is in ``carving.json`` but for the layers.

    Raises:
        ModelError: the model is missing, broken, or of a kind that cannot be carved.
        InputError: the folder exists, the groups do not divide the neurons, or the texts are too short.
        ResourceError: the disk is full, or will be.
    """
    folder = Path(folder)
    refuse_existing(folder)
    dense, tokenizer = donors.load_donor(source)
    carving.check_settings(dense.config, settings)
    if vocabulary:
        tokenizer = donors.cut_vocabulary(dense, tokenizer, vocabulary)
    # The mixture, and beside it while it is made the changes of its down projections, which are a third of it.
    refuse_too_small(folder, (1 + settings.least_squares) * _bytes(dense))
    apart = HeldOut(held_out)
    rows = carving.calibration_rows(tokenizer, apart.apart(texts), tokens=tokens)
    work = folder.with_name(f"{folder.name}.carving")
    model, cuts = carving.carve(
        dense,
        rows,
        settings,
        finished=FinishedLayers.of(work, dense, rows, settings),
        progress=lambda done, of: progress(done, of, "layers"),
    )
    report = {
        "donor": str(source),
        "vocabulary": vocabulary,
        "left_out": sum(apart.left_out),
        "settings": asdict(settings),
        "megaflops_per_token": round(carving.megaflops(model.config), 1),
        "pooled_cosine": carving.pooled_cosine(model, dense, rows[:_COMPARED]),
    }
    carving.write_carved(folder, model, tokenizer, cuts, report)
    shutil.rmtree(work, ignore_errors=True)
    return report


def distil_checkpoint(
    source: str | Path,
    parent: str | Path,
    folder: Path,
    sources: Iterable[Iterable[str]],
    settings: DistilSettings,
    *,
    held_out: Iterable[str] = (),
    progress: Callable[[int, int, str], None] = lambda done, total, unit: None,
) -> dict[str, Any]:
    """Teaches a carved mixture and writes what it learned; goes on from the checkpoint of an interrupted call.

    Computes on a GPU if there is one. Weights that learned to bear four bits are stored in four bits.

    Args:
        source: the mixture, hub name or folder.
        parent: the dense decoder it was carved from.
        folder: the new folder.
        sources: texts of each source; where there are several, most pairs of a step are of one of them.
        settings: how long and how hard.
        held_out: texts the mixture will be judged on; what is a near-copy of one is not learned from.
        progress: told the steps that are done.

    Returns:
        What is in ``distillation.json``: the settings, the texts of each source and those left out, the steps, and of
        the error of the means and of pairs the first and the last mean of a tenth of its steps.

    Raises:
        ModelError: a model is missing or damaged, the mixture was not carved from this parent, or the loss is no
            finite number.
        InputError: the folder exists, there is too little text, or a checkpoint was made with other settings or texts.
        ResourceError: the disk is full, or will be.
    """
    folder = Path(folder)
    refuse_existing(folder)
    student, tokenizer, dense = _mixture_and_parent(source, parent)
    settings = settled(settings, len(student.layers))
    # A checkpoint has two moments of each weight beside it, and is written anew before the old one goes.
    refuse_too_small(folder, 6 * _bytes(student))
    apart = HeldOut(held_out)
    rows = tokenized(tokenizer, map(apart.apart, sources))
    assert rows.sources is not None
    work = folder.with_name(f"{folder.name}.distilling")
    trainer = Trainer(student, dense, rows, work, settings)
    courses: dict[str, list[float]] = {}

    def tell(numbers: dict[str, Any]) -> None:
        for name in ("pooled", "pairs"):
            if name in numbers:
                courses.setdefault(name, []).append(float(numbers[name]))
        progress(int(trainer.done * trainer.steps), trainer.steps, "steps")

    trainer.run(tell)
    report = {
        "parent": str(parent),
        "settings": asdict(settings),
        "texts": np.bincount(rows.sources, minlength=len(apart.left_out)).tolist(),
        "left_out": apart.left_out,
        "steps": trainer.step,
        "errors": _ends(courses),
    }
    with atomic_folder(folder) as unfinished:
        _write_learned(unfinished, trainer, source, tokenizer)
        write_json(unfinished / "distillation.json", report)
    shutil.rmtree(work, ignore_errors=True)
    return report


def _ends(courses: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """Where each error began and where it ended."""
    ends = {}
    for name, course in courses.items():
        # Means of a tenth: a single step is of one length of text, and says more of that than of what was learned.
        tenth = max(1, len(course) // 10)
        ends[name] = {"first": round(sum(course[:tenth]) / tenth, 4), "last": round(sum(course[-tenth:]) / tenth, 4)}
    return ends


def _write_learned(folder: Path, trainer: Trainer, source: str | Path, tokenizer: Any) -> None:
    """Writes what the mixture of ``source`` learned, in four bits if it learned to bear them."""
    # A fresh mixture, since the student's layers have another form while they learn.
    fresh, _ = _load_mixture(source)
    fresh.load_state_dict(undensified(trainer.student))
    setattr(fresh.config, ROUTER_STRENGTH, getattr(trainer.student.config, ROUTER_STRENGTH))
    fresh.eval().requires_grad_(False)
    if trainer.settings.four_bits:
        # Without rounding the way was one step long.
        scales = trainer.rounding.stored_scales(trainer.student) if trainer.rounding else None
        write_compact(fresh, folder, tokenizer, scales=scales)
    else:
        if int4_checkpoint.is_compact(fresh.config):  # as its source was stored, and it will not be
            delattr(fresh.config, int4_checkpoint.MARK)
        with quiet():
            fresh.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _bytes(model: PreTrainedModel) -> int:
    """What the weights of a model take, in float32."""
    numbers: int = sum(weight.numel() for weight in model.parameters())
    return 4 * numbers


def _load_mixture(source: str | Path) -> tuple[PreTrainedModel, Any]:
    """A carved mixture in float32, whatever its weights are stored in, and its tokenizer.

    Raises:
        ModelError: it is missing, or is no mixture that was carved.
    """
    model, tokenizer = load_model(EncoderSettings(str(source), quantize="none", dtype="float32", device="cpu"))
    if not isinstance(model, Glm4MoeModel):
        raise ModelError(
            f"{source} is a {type(model).__name__}, and what is taught is a mixture that `moee-topics models carve` "
            "made. Give its folder first, then its parent."
        )
    return model, tokenizer


def _check_parent(student: PreTrainedModel, dense: PreTrainedModel, refusal: str) -> None:
    """Refuses a decoder of other sizes or other embeddings than the mixture, whose embeddings are never trained."""
    same = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size")
    for name in same:
        ours, theirs = (getattr(model.config, name, None) for model in (student, dense))
        if ours != theirs:
            raise ModelError(f"{refusal}: its {name} is {ours}, and that of the decoder {theirs}.")
    ours, theirs = (model.get_input_embeddings().weight for model in (student, dense))
    if int4_checkpoint.is_compact(student.config):
        # In eight bits a row is off by half of the 127th part of its largest; a float16 scale may be near its least.
        tolerance = theirs.abs().amax(1, keepdim=True) / 250 + 1e-5
    else:
        tolerance = theirs.abs() / 256 + 1e-7  # carved in 32 bits, and kept in 16 at least
    if not ((ours - theirs).abs() <= tolerance).all():
        raise ModelError(
            f"{refusal}: of the same sizes, they have other embeddings, which a distillation leaves as they are. Give "
            "the very model that was named to `models carve`."
        )


def _mixture_and_parent(source: str | Path, parent: str | Path) -> tuple[PreTrainedModel, Any, PreTrainedModel]:
    """The mixture with a router that can learn, its tokenizer, and the parent cut to the same vocabulary."""
    student, tokenizer = _load_mixture(source)
    dense, full = donors.load_donor(parent)
    if student.config.vocab_size < dense.config.vocab_size:
        donors.cut_vocabulary(dense, full, student.config.vocab_size)
    _check_parent(student, dense, f"The mixture {source} was not carved from {parent}")
    if dense.config.hidden_act != "silu":
        raise ModelError(f"Only neurons with silu can be distilled; those of {parent} have {dense.config.hidden_act}.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":  # where the plain backward takes half the time of the other
        for model in (student, dense):
            model.set_attn_implementation("eager")
    # With logits near 0 the weights of the groups, and so the gradients of the router, would hardly move.
    strength = getattr(student.config, ROUTER_STRENGTH, TRAINED_STRENGTH)
    factor = max(1.0, TRAINED_STRENGTH / strength)
    for layer in student.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp.gate.weight.data *= factor
            layer.mlp.gate.e_score_correction_bias *= factor
    setattr(student.config, ROUTER_STRENGTH, strength * factor)
    return student.to(device).requires_grad_(True), tokenizer, dense.to(device)
