"""One line of text by a causal language model of this machine: greedy, so that the same prompt has the same answer."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from moee_topics.encode.models import ONE_AT_A_TIME, default_dtype, identity, load_config, load_model, load_tokenizer
from moee_topics.encode.settings import AUTO, EncoderSettings
from moee_topics.errors import InputError, ModelError

HEADLESS = (
    "To write, a model needs its language-model head, which the embedded one and others made for vectors lack: name a "
    "causal language model."
)


class TextGenerator:
    """A causal language model that is loaded with the first answer; prompts are counted without its weights.

    Args:
        settings: the model; what is about vectors in them is not looked at.
        most_tokens: that an answer has.
    """

    def __init__(self, settings: EncoderSettings, most_tokens: int) -> None:
        # Which arithmetic is fast was measured for many tokens at once, and here they come one by one.
        self.settings = replace(settings, quantize="none") if settings.quantize == AUTO else settings
        self.most_tokens = most_tokens

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What an answer depends on beside its prompt.

        Raises:
            ModelError: the model is missing or not supported, or its files say that it has no language-model head.
        """
        settings = self.settings
        # Told before the weights are loaded, and of a recipe before its corpus is encoded.
        classes = self._config.architectures or ()
        if classes and all(name.endswith("Model") and not name.endswith("LMHeadModel") for name in classes):
            raise ModelError(f"{settings.model!r} is {classes[0]}. {HEADLESS}")
        model, revision = identity(settings.model, settings.revision)
        dtype = settings.dtype or str(default_dtype(settings.device)).removeprefix("torch.")
        facts = {"provider": "local", "model": model, "revision": revision, "quantize": settings.quantize}
        return {**facts, "dtype": dtype, "most_tokens": self.most_tokens}

    def count(self, prompt: str) -> int:
        """Tokens of a prompt."""
        return len(self._ids(prompt))

    def answer(self, prompt: str) -> str:
        """What the model goes on with after a prompt, up to the end of its first line.

        Raises:
            InputError: the prompt and an answer are longer than what the model was made for.
            ModelError: the model has no language-model head, or cannot be loaded.
        """
        ids = torch.tensor([self._ids(prompt)])
        longest = getattr(self._config.get_text_config(), "max_position_embeddings", None)
        if longest and ids.shape[1] + self.most_tokens > longest:
            raise InputError(
                f"The prompt has {ids.shape[1]:,} tokens and an answer up to {self.most_tokens}, and "
                f"{self.settings.model} reads {longest:,}. Give fewer documents, or fewer characters of each."
            )
        model = self._model
        ids = ids.to(model.device)
        end = self._tokenizer.eos_token_id
        padding = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else end
        with ONE_AT_A_TIME, torch.inference_mode():
            # A checkpoint may bring sampling settings of its own, which greedy decoding only warns of.
            told = {"do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
            written = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.most_tokens,
                pad_token_id=padding,
                stop_strings=["\n"],
                tokenizer=self._tokenizer,
                **told,
            )
        text: str = self._tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
        return text.strip().partition("\n")[0].strip()

    def _ids(self, prompt: str) -> list[int]:
        """The tokens of a prompt, as the question of a user where the model knows such."""
        if not self._tokenizer.chat_template:
            return list(self._tokenizer(prompt)["input_ids"])
        said = [{"role": "user", "content": prompt}]
        asked = self._tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer(asked, add_special_tokens=False)["input_ids"])

    @cached_property
    def _config(self) -> Any:
        return load_config(self.settings.model, revision=self.settings.revision)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.settings.model, revision=self.settings.revision)

    @cached_property
    def _model(self) -> Any:
        try:
            model, _ = load_model(self.settings, with_head=True)
        except ModelError as error:
            raise ModelError(f"{error} {HEADLESS}") from error
        return model
