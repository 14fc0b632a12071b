"""From a prompt or a conversation to token ids: the one way, for engines that tokenize here and for training.

What a model is trained with is then byte for byte what it is asked with. `tokenizer` is a Hugging Face one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from core.errors import UserError
from core.inference.engine import Generation, too_long

Form = Literal["raw", "chat", "alpaca"]
Messages = Sequence[dict[str, str]]

NO_TEMPLATE = "### Instruction:\n{text}\n\n### Response:\n"
"""For models of the LLaMA age, which came without a chat template."""

_TASK = "Below is an instruction that describes a task"
_WISH = "Write a response that appropriately completes the request."
_WITH_INPUT = f"{_TASK}, paired with an input that provides further context. {_WISH}"


def alpaca(instruction: str, input_text: str = "") -> str:
    """The prompt of Stanford Alpaca, which ZhiXi and KnowLM were trained with (wire protocol, to the character)."""
    if input_text:
        return f"{_WITH_INPUT}\n\n### Instruction:\n{instruction}\n\n### Input:\n{input_text}\n\n### Response:\n"
    return f"{_TASK}. {_WISH}\n\n### Instruction:\n{instruction}\n\n### Response:\n"


def alpaca_template(tokenizer: Any) -> str:
    """A chat template that asks as `alpaca` does, for a model trained so: it has none of its own that fits."""
    first = "{{ bos_token }}" if prompt_ids(tokenizer, "")[:1] == [tokenizer.bos_token_id] else ""
    text = "{{ messages | map(attribute='content') | join('\\n\\n') }}"  # no block: a line end after one is lost
    asked = alpaca("{text}").replace("{text}", text)
    return first + asked[:-1] + "{{ '\\n' }}"  # Jinja drops a template's last line end


def prompt_ids(tokenizer: Any, prompt: str) -> list[int]:
    """A bare prompt's tokens, with what the tokenizer puts in front of every text."""
    return list(tokenizer(prompt)["input_ids"])


def chat_text(tokenizer: Any, messages: Messages, *, going_on: bool = False) -> str:
    """Messages through the model's chat template, up to where the assistant begins, or goes on with its last one."""
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=not going_on, continue_final_message=going_on
    )


def chat_ids(tokenizer: Any, messages: Messages) -> list[int]:
    """Tokens of messages; the last one is the user's, or the assistant's to be gone on with."""
    if tokenizer.chat_template is None:
        text = "\n\n".join(message["content"] for message in messages)
        return prompt_ids(tokenizer, NO_TEMPLATE.format(text=text))
    text = chat_text(tokenizer, messages, going_on=messages[-1]["role"] == "assistant")
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def asked_ids(tokenizer: Any, request: Generation, context: int) -> list[int]:
    """Tokens of a request's prompt or messages. Raises UserError: the template refuses them, or they leave no room."""
    try:
        ids = chat_ids(tokenizer, request.messages) if request.messages else prompt_ids(tokenizer, request.prompt or "")
    except Exception as error:  # templates are programs: they raise what they like
        raise UserError(
            "The model's chat template refuses these messages: {why}",
            remedy="Use the roles system, user and assistant in turn, the last one from the user.",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
        ) from error
    if len(ids) >= context:
        raise too_long(len(ids), context)
    return ids


def answer_ids(tokenizer: Any, answer: str) -> list[int]:
    """What a model would say to mean this answer and be done: its tokens, then the end of sequence."""
    return [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
