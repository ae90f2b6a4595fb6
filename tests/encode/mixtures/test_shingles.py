"""Near-copies of held-out texts are found whatever stands around them; what shares a phrase is not one."""

from __future__ import annotations

from moee_topics.encode.mixtures.shingles import HeldOut, shingles

EVALUATION = (
    "The probe left its orbit in spring and found a ring of dust around the small planet that nobody had expected"
)
PHRASE = "it is well known to those who work in this field that"


def filler(words: int, start: int = 0) -> str:
    return " ".join(f"word{number}" for number in range(start, start + words))


def test_as_many_shingles_as_eight_words_in_a_row_whatever_is_between_them() -> None:
    assert len(shingles(filler(20))) == 13 and len(shingles("")) == len(shingles("...!")) == 0
    assert (
        shingles("One, two -- THREE (four) five; six seven\neight")
        == shingles("one two three four five six seven eight")
    ).all()
    assert len(set(shingles(filler(500)).tolist())) == 493
    assert len(shingles("lone half \ud800 of a character")) == 1


def test_a_near_copy_is_left_out_wherever_it_stands() -> None:
    held = HeldOut([EVALUATION, "A title of five words", filler(400, start=5000)])
    ten_words = " ".join(EVALUATION.split()[:10])
    copies = [
        EVALUATION.upper() + " " + filler(1000),
        filler(900) + " " + ten_words + " " + filler(900, start=900),  # three shingles of hundreds
        filler(20) + " " + " ".join(EVALUATION.split()[:9]),  # two, a tenth of its own
        "a TITLE, of five words",  # shorter than a shingle: as a whole
    ]
    others = [filler(30), filler(300) + " " + " ".join(EVALUATION.split()[:9]), "a title of six other words", "", "!"]
    assert [held.overlaps(text) for text in copies] == [True] * 4
    assert [held.overlaps(text) for text in others] == [False] * 5
    assert list(held.apart([*copies, *others])) == others and held.left_out == [4]


def test_where_nothing_is_held_out_every_text_is_apart() -> None:
    held = HeldOut([])
    assert list(held.apart([EVALUATION, PHRASE])) == [EVALUATION, PHRASE] and held.left_out == [0]
