"""The encoder of a run is loaded again, or refused where it is another one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from moee_topics.errors import KernelError, ModelError
from moee_topics.run_folder import RunFolder, check_same_encoder, fitted_encoder
from moee_topics.run_folder.encoder_of_fit import load_fitted_encoder


def test_the_encoder_of_a_run_is_that_of_its_key_on_any_device(searched: RunFolder) -> None:
    key = searched.encoder["key"]
    assert load_fitted_encoder(searched).key() == key
    settings = fitted_encoder(searched, "cpu")
    assert settings.device == "cpu" and settings.dtype == key["dtype"]


def test_another_model_is_refused_by_what_differs(searched: RunFolder) -> None:
    key = searched.encoder["key"]
    check_same_encoder("tiny", key, dict(key))
    with pytest.raises(ModelError, match=r"not the one this run was encoded with: revision, new differ"):
        check_same_encoder("tiny", key, {**key, "revision": "other", "new": 1})


def test_what_was_chosen_is_not_chosen_again(searched: RunFolder) -> None:
    assert searched.encoder["options"]["quantize"] == "auto"
    assert fitted_encoder(searched).quantize == searched.encoder["key"]["quantize"]


def test_a_run_in_float8_says_on_a_cpu_that_it_needs_a_machine_like_its_own(searched: RunFolder) -> None:
    key = {**searched.encoder["key"], "quantize": "fp8", "dtype": "bfloat16"}
    run: Any = SimpleNamespace(path="runs/posts", fusion=searched.fusion, encoder={**searched.encoder, "key": key})
    with pytest.raises(
        KernelError, match=r"runs/posts was encoded with quantize: fp8, .*this is cpu\..* a machine like the one"
    ):
        load_fitted_encoder(run, "cpu")
