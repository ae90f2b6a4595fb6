from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny_tokenizer
from tokenizers.processors import TemplateProcessing

from moee_topics.encode.prompts import PAPER_PROMPTS, PROMPTS, Prompt, PromptTokenizer, get_prompt
from moee_topics.errors import InputError

TOKENIZER = tiny_tokenizer()
ASPECTS = {
    "style",
    "sentiment",
    "tone",
    "intent",
    "complexity",
    "subjectivity",
    "language_style",
    "grammar_structure",
}


def with_special_tokens(template: str) -> Any:
    """The tiny tokenizer with a post-processor such as "<|endoftext|> $A"."""
    tokenizer = tiny_tokenizer()
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=[(end, 0)])
    return tokenizer


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER(text)["input_ids"])


CLUSTERING = {"cluster", "classification", "summary", "category"}


def test_the_prompts_are_the_bare_text_an_echo_those_of_the_paper_and_those_for_clustering() -> None:
    assert set(PROMPTS) == {"none", "prompteol", "echo"} | ASPECTS | CLUSTERING
    assert set(PAPER_PROMPTS) == {"prompteol"} | ASPECTS


@pytest.mark.parametrize("name", sorted(CLUSTERING))
def test_prompts_for_clustering_say_what_kind_of_text_it_is(name: str) -> None:
    assert "sentence" in get_prompt(name).wrap("XYZ") and '"XYZ"' in get_prompt(name).wrap("XYZ")
    of_posts = get_prompt(f"{name}: forum post")
    assert of_posts.wrap("XYZ") == get_prompt(name).wrap("XYZ").replace("sentence", "forum post")
    assert get_prompt(of_posts.template) == of_posts
    with pytest.raises(InputError, match="names no kind of text"):
        get_prompt(f"{name}: ")
    assert get_prompt(name + ": {text}").suffix == ""


def test_none_is_the_bare_text_and_prompteol_ends_with_an_opening_quote() -> None:
    assert get_prompt("none").wrap('say "hi"_') == 'say "hi"_'
    assert get_prompt("prompteol").wrap("hi") == 'This sentence : "hi" means in one word:"'


@pytest.mark.parametrize("name", sorted(ASPECTS))
def test_aspect_prompts_ask_for_one_word_about_the_quoted_document(name: str) -> None:
    wrapped = get_prompt(name).wrap("XYZ")
    assert wrapped.startswith("In one word, ") and '"XYZ"' in wrapped and wrapped.endswith((":", ':"'))
    assert name[:5] in wrapped


def test_a_template_with_one_field_is_a_prompt_and_round_trips() -> None:
    prompt = get_prompt("Topic of: {text} =>")
    assert (prompt.prefix, prompt.suffix) == ("Topic of: ", " =>")
    assert get_prompt(prompt.template) == prompt
    assert get_prompt(get_prompt("tone").template).wrap("x") == get_prompt("tone").wrap("x")


@pytest.mark.parametrize("bad", ["", "promteol", "no field", "{text} and {text} and {text}"])
def test_anything_else_is_refused_with_the_known_names(bad: str) -> None:
    with pytest.raises(InputError, match="prompteol"):
        get_prompt(bad)


def test_a_document_that_fits_is_tokenized_in_one_piece() -> None:
    (sequence,) = PromptTokenizer(TOKENIZER, get_prompt("prompteol"), 64).truncate(["two words"])
    assert sequence.ids == ids('This sentence : "two words" means in one word:"')
    assert (sequence.document, sequence.tokens_lost) == (0, 0)


def test_cutting_takes_the_end_of_the_document_and_never_the_prompt() -> None:
    prompt = Prompt("custom", "Start <", "> finish")
    (sequence,) = PromptTokenizer(TOKENIZER, prompt, 40).truncate(["0123456789" * 30])
    text = TOKENIZER.decode(sequence.ids)
    assert text.startswith("Start <0123") and text.endswith("> finish")
    assert len(sequence.ids) == 40
    assert sequence.tokens_lost == 300 - len(text.removeprefix("Start <").removesuffix("> finish"))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.integers(32, 80), st.sampled_from(["none", "prompteol", "tone"]))
def test_no_sequence_is_longer_than_asked_and_a_longer_one_was_counted(text: str, most: int, name: str) -> None:
    prompt = get_prompt(name)
    text = text.encode("utf-8", "replace").decode()
    (sequence,) = PromptTokenizer(TOKENIZER, prompt, most + 40).truncate([text])
    assert 1 <= len(sequence.ids) <= most + 40
    assert (sequence.tokens_lost > 0) == (len(ids(prompt.wrap(text))) > most + 40)
    assert TOKENIZER.decode(sequence.ids).endswith(prompt.suffix)


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="ab cé🙂\n", min_size=1, max_size=400))
def test_the_chunks_of_a_document_hold_all_of_it(text: str) -> None:
    prompt = Prompt("custom", "<<", ">>")
    chunks = PromptTokenizer(TOKENIZER, prompt, 24).chunk([text])
    parts = [TOKENIZER.decode(chunk.ids).removeprefix("<<").removesuffix(">>") for chunk in chunks]
    assert "".join(parts) == text
    assert all(len(chunk.ids) <= 24 and chunk.tokens_lost == 0 for chunk in chunks)


def test_a_document_longer_than_a_stretch_is_cut_the_same_and_all_of_it_is_counted() -> None:
    document = "graphics cards " * 2000
    cutter = PromptTokenizer(TOKENIZER, get_prompt("prompteol"), 48)
    (whole,) = cutter.truncate([document])
    cutter.stretch = 1000
    (in_pieces,) = cutter.truncate([document])
    assert whole.ids == in_pieces.ids
    # The count restarts at each border of a stretch, so a token there may count as two.
    assert whole.tokens_lost <= in_pieces.tokens_lost <= whole.tokens_lost + 2 * len(document) / 1000
    assert whole.tokens_lost + len(whole.ids) >= len(ids(document))


def test_an_empty_document_is_the_prompt_alone_or_one_token() -> None:
    prompted = PromptTokenizer(TOKENIZER, get_prompt("prompteol"), 64).truncate([""])[0]
    assert prompted.ids == ids('This sentence : "" means in one word:"')
    assert PromptTokenizer(TOKENIZER, get_prompt("none"), 64).truncate([""])[0].ids == (TOKENIZER.eos_token_id,)


def test_bos_stays_when_a_document_is_cut_and_eos_does_not_follow_the_prompt() -> None:
    end = TOKENIZER.eos_token
    cutter = PromptTokenizer(with_special_tokens(f"{end} $A {end}"), get_prompt("prompteol"), 40)
    (cut,) = cutter.truncate(["x y " * 99])
    assert cut.ids[0] == 0 and 0 not in cut.ids[1:]
    assert TOKENIZER.decode(cut.ids).endswith(' means in one word:"')
    assert len(cut.ids) <= 40


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="max_tokens=16"):
        PromptTokenizer(TOKENIZER, get_prompt("tone"), 16)


def test_a_tokenizer_without_offsets_cuts_too() -> None:
    class WithoutOffsets:
        is_fast = False
        bos_token_id = eos_token_id = pad_token_id = 0

        def __call__(self, texts: Any, **options: Any) -> Any:
            assert "return_offsets_mapping" not in options
            return TOKENIZER(texts, **options)

    (sequence,) = PromptTokenizer(WithoutOffsets(), get_prompt("prompteol"), 48).truncate(["many words " * 50])
    assert 24 <= len(sequence.ids) <= 48 and sequence.tokens_lost > 0
    assert TOKENIZER.decode(sequence.ids).endswith(' means in one word:"')


@pytest.mark.parametrize("prompt", ["none", "prompteol", "style", "Topic of {text}:"])
@pytest.mark.parametrize("text", ["Space probes orbit planets", "x", "", "means in one word"])
def test_the_own_tokens_of_a_document_are_those_between_the_tokens_of_the_prompt(prompt: str, text: str) -> None:
    prompted = PromptTokenizer(tiny_tokenizer(), get_prompt(prompt), 128)
    (sequence,) = prompted.truncate([text])
    first, stop = sequence.own
    own = tiny_tokenizer().decode(sequence.ids[first:stop], skip_special_tokens=True)
    # A token that is merged from prompt and text is counted as the text's: at most a quote more on each side.
    assert text in own and len(own) <= len(text) + 2


@pytest.mark.parametrize("prompt", ["echo", "<< {text} >> {text} :"])
@pytest.mark.parametrize("text", ["Space probes orbit planets", "x", ", rewritten sentence: x", "word " * 60])
def test_an_echo_is_read_in_its_second_copy_and_both_are_cut_alike(prompt: str, text: str) -> None:
    (sequence,) = PromptTokenizer(TOKENIZER, get_prompt(prompt), 80).truncate([text])
    assert len(sequence.ids) <= 80 and sequence.read == sequence.own
    first, stop = sequence.own
    before, copy = (TOKENIZER.decode(sequence.ids[part]).strip() for part in (slice(first), slice(first, stop)))
    assert (sequence.tokens_lost > 0) == (len(text) > 100)
    assert text.startswith(copy) if sequence.tokens_lost else copy == text
    assert len(copy) >= min(len(text), 20) and copy in before


def test_an_empty_echo_is_read_as_a_whole_and_one_without_room_is_refused() -> None:
    (empty,) = PromptTokenizer(TOKENIZER, get_prompt("echo"), 80).truncate([""])
    assert empty.read == (0, len(empty.ids)) and empty.own[0] >= empty.own[1]
    alone = PromptTokenizer(TOKENIZER, get_prompt("echo"), 80).prompt_tokens
    with pytest.raises(InputError, match="a document needs 16"):
        PromptTokenizer(TOKENIZER, get_prompt("echo"), alone + 15)


def test_the_chunks_of_an_echo_hold_all_of_a_document_twice() -> None:
    text = "".join(f"{number} " for number in range(60))
    chunks = PromptTokenizer(TOKENIZER, Prompt.of("custom", "<{text}><{text}>"), 40).chunk([text])
    copies = [TOKENIZER.decode(chunk.ids).removeprefix("<").removesuffix(">").split("><") for chunk in chunks]
    assert all(one == other for one, other in copies) and "".join(one for one, _ in copies) == text


def test_a_chat_may_hold_an_echo() -> None:
    tokenizer = with_special_tokens("<|endoftext|> $A")
    tokenizer.chat_template = CHAT_TEMPLATE
    prompt = get_prompt("chat:{text}, again: {text}")
    assert prompt.template == "chat:{text}, again: {text}" and prompt.copies == 2
    (sequence,) = PromptTokenizer(tokenizer, prompt, 64).truncate(["two words"])
    assert tokenizer.decode(sequence.ids[: sequence.own[0]]).endswith("two words, again:")


CHAT_TEMPLATE = (
    "{% for m in messages %}{{ eos_token }}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_chat_prompt_is_said_by_a_user_and_its_special_tokens_are_those_of_the_template() -> None:
    tokenizer = with_special_tokens("<|endoftext|> $A")
    tokenizer.chat_template = CHAT_TEMPLATE
    prompt = get_prompt("chat:Topic of {text}?")
    assert prompt.template == "chat:Topic of {text}?" and get_prompt(prompt.template) == prompt
    prompted = PromptTokenizer(tokenizer, prompt, 64)
    (sequence,) = prompted.truncate(["two words"])
    whole = "<|endoftext|>user: Topic of two words?\nassistant: "
    assert sequence.ids == tuple(tokenizer(whole, add_special_tokens=False)["input_ids"])
    first, last = sequence.own
    assert tokenizer.decode(sequence.ids[first:last]).strip() == "two words"
    (cut,) = prompted.truncate(["0123456789" * 30])
    assert len(cut.ids) <= 64 and tokenizer.decode(cut.ids).endswith("?\nassistant: ")


def test_a_chat_prompt_without_a_chat_template_is_told() -> None:
    with pytest.raises(InputError, match="has no chat template"):
        PromptTokenizer(tiny_tokenizer(), get_prompt("chat:prompteol"), 64)
    strict = tiny_tokenizer()
    strict.chat_template = "{{ raise_exception('a system speaks first') }}"
    with pytest.raises(InputError, match="a system speaks first"):
        PromptTokenizer(strict, get_prompt("chat:{text}"), 64)
    silent = tiny_tokenizer()
    silent.chat_template = "nothing"
    with pytest.raises(InputError, match=r"does not hold .* as often"):
        PromptTokenizer(silent, get_prompt("chat:{text}"), 64)
    with pytest.raises(InputError, match="neither a known name"):
        get_prompt("chat:without a field")
