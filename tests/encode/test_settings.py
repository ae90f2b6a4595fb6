"""What an encoder can be told."""

from __future__ import annotations

from pathlib import Path

import pytest
from encoders import encoder_of

from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.prompts import get_prompt
from moee_topics.errors import InputError


@pytest.mark.parametrize(
    ("option", "value"),
    [("quantize", "int3"), ("pooling", "max"), ("long_documents", "drop"), ("dtype", "int8"), ("prompt", "promteol")],
)
def test_an_option_that_does_not_exist_is_refused_by_name(tiny_olmoe: Path, option: str, value: str) -> None:
    with pytest.raises(InputError, match=value):
        encoder_of(tiny_olmoe, **{option: value})


def test_the_embedded_model_is_read_as_it_reads_best_and_others_as_in_the_paper(tiny_olmoe: Path) -> None:
    pocket, other = MoEEncoder.from_pretrained("pocket").spec, MoEEncoder.from_pretrained(tiny_olmoe).spec
    assert (pocket.prompt, pocket.pooling) == ("{text}", "mean")
    assert (other.prompt, other.pooling) == (get_prompt("prompteol").template, "last_token")
