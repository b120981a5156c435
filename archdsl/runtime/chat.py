"""Chat templates: a conversation as the text a model was trained to read, by the Jinja template that its file carries.

A template comes with the weights, so it is not trusted: it is rendered in Jinja's immutable sandbox, which keeps it from Python and files;
`range` and repeated strings are bounded. A template made to waste time in nested loops over its own text is not stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.runtime.tokenizer import Tokenizer

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_TEMPLATE = 64 * 1024
MAX_TEXT = 1 << 20
MAX_RANGE = 10_000


class ChatMessage(TypedDict):
    """One turn: role "system", "user" or "assistant", and its text."""

    role: str
    content: str


def render_chat(tokenizer: Tokenizer, messages: Sequence[ChatMessage], *, reply: bool = True) -> str:
    """The conversation as one text; with `reply`, it ends where the assistant's next turn begins.

    Control tokens inside a message's content are not neutralised here; use `encode_chat` for text from others. Raises AD0808 if the
    tokenizer has no template, Jinja is absent, or the template fails.
    """
    template = tokenizer.chat_template
    if not template:
        raise _problem("these weights carry no chat template", "Write the prompt yourself.")
    if len(template) > MAX_TEMPLATE:
        raise _problem(f"the chat template has {len(template)} characters; at most {MAX_TEMPLATE} are read")
    environment = _environment()
    from jinja2 import TemplateError

    special = {number: token for token, number in tokenizer.special.items()}
    eos = min(tokenizer.eos, default=-1)
    try:
        parts = environment.from_string(template).generate(
            messages=[dict(message) for message in messages],
            add_generation_prompt=reply,
            bos_token=special.get(-1 if tokenizer.bos is None else tokenizer.bos, ""),
            eos_token=special.get(eos, ""),
            raise_exception=_raise,
        )
        return _bounded(parts)
    except (TemplateError, OverflowError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise _problem(f"the chat template stopped: {error}", "Check the roles and their order.") from None


def encode_chat(tokenizer: Tokenizer, messages: Sequence[ChatMessage], *, reply: bool = True) -> list[int]:
    """Token numbers of a conversation, in which control tokens written inside a message stay plain text.

    Each content is rendered as a private marker and encoded on its own where the marker stands, so no message can end its own turn.
    """
    markers = [f"\x02{i}\x03" for i in range(len(messages))]
    contents = [message["content"] for message in messages]
    text = render_chat(tokenizer, [{"role": m["role"], "content": mark} for m, mark in zip(messages, markers)], reply=reply)
    tokens: list[int] = []
    for i, mark in enumerate(markers):
        before, found, text = text.partition(mark)
        if not found:  # the template left this turn out
            text = before
            continue
        tokens += tokenizer.encode(before) + tokenizer.encode(contents[i], special=False)
    return tokens + tokenizer.encode(text)


def _environment() -> ImmutableSandboxedEnvironment:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise _problem("chat templates need the package jinja2", "Run: pip install 'jinja2>=3.1.6'") from None

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**", "%", "+"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or (operator in "*%" and not all(isinstance(side, int | float) for side in (left, right))):
                if not (operator == "%" and isinstance(left, int | float)):
                    raise OverflowError(f"`{operator}` is only allowed between numbers")
            result = super().call_binop(context, operator, left, right)
            if isinstance(result, str | list) and len(result) > MAX_TEXT:
                raise OverflowError("a value grew too large")
            return result

    budget = [MAX_RANGE]

    def bounded_range(*bounds: int) -> range:
        numbers = range(*bounds)
        budget[0] -= len(numbers) + 1
        if budget[0] < 0:
            raise OverflowError("too many rounds")
        return numbers

    environment = Bounded(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["range"] = bounded_range
    return environment


def _bounded(parts: Iterator[str]) -> str:
    kept, length = [], 0
    for part in parts:
        kept.append(part)
        length += len(part)
        if length > MAX_TEXT:
            raise OverflowError("the text grew too long")
    return "".join(kept)


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


def _problem(title: str, hint: str = "") -> ArchError:
    return ArchError(Diagnostic("AD0808", title, hint=hint))
