"""Text to token numbers and back: from a GGUF file's own vocabulary, a tokenizer.json, or single characters.

The pair of types below is all the rest of the package knows about tokenizers.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.runtime.gguf import GGUFFile
from archdsl.runtime.huggingface import read_json

_encoding = threading.Lock()  # how a tokenizer takes control tokens is its own setting, so that one text is encoded at a time
_CONTROL, _USER_DEFINED = 3, 4  # kinds of entries in `tokenizer.ggml.token_type`
_PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# How each family cuts text before merging: a pattern, "bytes" (GPT-2's own pattern), or "digits" (the same after single digits).
_CUTS = {
    "gpt-2": "bytes",
    "smollm": "digits",
    "starcoder": "digits",
    "llama-bpe": _PIECES % "{1,3}",
    "qwen2": _PIECES % "",
}


class Tokenizer(Protocol):
    """encode(text) -> token numbers; decode(numbers) -> text. `eos`: numbers that end a text. `chat_template`: Jinja text, if any."""

    vocab_size: int
    bos: int | None
    eos: frozenset[int]
    chat_template: str | None
    special: Mapping[str, int]

    def encode(self, text: str, *, special: bool = True) -> list[int]: ...
    def decode(self, tokens: Iterable[int]) -> str: ...


class BPETokenizer:
    """A byte-level pair encoding run by the `tokenizers` package. With special=False, text that looks like a control token is just text."""

    def __init__(self, inner: Any, *, bos: int | None, eos: Iterable[int], special: Mapping[str, int], chat_template: str | None = None):
        self._inner = inner
        self.vocab_size: int = inner.get_vocab_size(with_added_tokens=True)
        self.bos, self.eos, self.chat_template = bos, frozenset(eos), chat_template
        self.special: Mapping[str, int] = dict(special)

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        with _encoding:
            self._inner.encode_special_tokens = not special
            return list(self._inner.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Iterable[int]) -> str:
        return str(self._inner.decode(list(tokens), skip_special_tokens=False))


class CharTokenizer:
    """One token for each character of an alphabet, in the order given. Unknown characters raise AD0807."""

    def __init__(self, alphabet: Sequence[str]):
        self.alphabet = tuple(dict.fromkeys(alphabet))
        self._numbers = {character: i for i, character in enumerate(self.alphabet)}
        self.vocab_size = len(self.alphabet)
        self.bos: int | None = None
        self.eos: frozenset[int] = frozenset()
        self.chat_template: str | None = None
        self.special: Mapping[str, int] = {}

    @classmethod
    def of(cls, text: str) -> CharTokenizer:
        """The alphabet of a text, sorted."""
        return cls(sorted(set(text)))

    def encode(self, text: str, *, special: bool = True) -> list[int]:
        try:
            return [self._numbers[character] for character in text]
        except KeyError as error:
            known = "".join(self.alphabet)[:80]
            title = f"the character {error.args[0]!r} is not in the alphabet"
            raise ArchError(Diagnostic("AD0807", title, note=f"The alphabet is {known!r}.", hint="Leave the character out.")) from None

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.alphabet[token] for token in tokens)

    def save(self, path: str | Path) -> None:
        """Writes the alphabet as JSON; `load_tokenizer` reads it back."""
        Path(path).write_text(json.dumps({"kind": "characters", "alphabet": self.alphabet}, ensure_ascii=False), encoding="utf-8")


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a .gguf file, of a folder with tokenizer.json, or of a tokenizer JSON file. Raises AD0801, AD0802, AD0807."""
    path = Path(path)
    if path.suffix == ".gguf":
        file = GGUFFile(path)
        try:
            return from_gguf(file.metadata, path)
        finally:
            file.close()
    folder = path if path.is_dir() else path.parent
    table = read_json(path / "tokenizer.json" if path.is_dir() else path)
    if table.get("kind") == "characters" and isinstance(table.get("alphabet"), list):
        return CharTokenizer([str(character) for character in table["alphabet"]])
    return _from_json(table, folder)


def _from_json(table: dict[str, Any], folder: Path) -> BPETokenizer:
    from tokenizers import Tokenizer as Inner

    try:
        inner = Inner.from_str(json.dumps(table))
    except Exception as error:  # the package raises bare Exception for a file it does not understand
        raise _refuse(f"`{folder / 'tokenizer.json'}` is not understood: {error}") from None
    settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    special = {token.content: number for number, token in inner.get_added_tokens_decoder().items() if token.special}

    def number(key: str) -> int | None:
        value = settings.get(key)
        content = value.get("content") if isinstance(value, dict) else value
        return inner.token_to_id(content) if isinstance(content, str) else None

    eos, template = number("eos_token"), settings.get("chat_template")
    beside = folder / "chat_template.jinja"
    if template is None and beside.is_file() and beside.stat().st_size <= 1 << 16:
        template = beside.read_text(encoding="utf-8")
    return BPETokenizer(
        inner,
        bos=number("bos_token"),
        eos=[eos] if eos is not None else [],
        special=special,
        chat_template=template if isinstance(template, str) else None,
    )


def from_gguf(metadata: Mapping[str, Any], path: Path) -> BPETokenizer:
    """The tokenizer that a GGUF file carries in its metadata. Only byte-level pair encodings (`gpt2`) are known."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    model, cut = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre", "gpt-2")
    if model != "gpt2":
        raise _refuse(f"`{path.name}` has a tokenizer of the kind `{model}`; byte-level pair encodings (`gpt2`) are known.")
    if cut not in _CUTS:
        raise _refuse(f"`{path.name}` cuts text in the way `{cut}`; known are {', '.join(sorted(_CUTS))}.")
    tokens, merges = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.merges")
    kinds = metadata.get("tokenizer.ggml.token_type") or []
    if not isinstance(tokens, list) or not isinstance(merges, list):
        raise _refuse(f"`{path.name}` lacks its vocabulary or its merges.")
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    try:
        inner = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=cut == "llama-bpe"))
    except Exception as error:  # the package raises bare Exception when merges name unknown tokens
        raise _refuse(f"the vocabulary of `{path.name}` does not fit together: {error}") from None
    inner.pre_tokenizer = _cutter(_CUTS[cut])
    inner.decoder = decoders.ByteLevel()
    special = {tokens[i]: i for i, kind in enumerate(kinds) if kind == _CONTROL}
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    inner.add_tokens([AddedToken(tokens[i], normalized=False) for i, kind in enumerate(kinds) if kind == _USER_DEFINED])
    ends = {metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")}
    bos, template = metadata.get("tokenizer.ggml.bos_token_id"), metadata.get("tokenizer.chat_template")
    return BPETokenizer(
        inner,
        bos=bos if isinstance(bos, int) else None,
        eos=[end for end in ends if isinstance(end, int)],
        special=special,
        chat_template=template if isinstance(template, str) else None,
    )


def _cutter(cut: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if cut == "bytes":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if cut == "digits":
        pieces = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([pieces, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    pattern = pre_tokenizers.Split(Regex(cut), behavior="isolated")
    return pre_tokenizers.Sequence([pattern, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _refuse(note: str) -> ArchError:
    hint = "Give a folder or file with a tokenizer.json instead."
    return ArchError(Diagnostic("AD0807", "this tokenizer cannot be used", note=note, hint=hint))


class Detokenizer:
    """Turns a stream of tokens into text, never giving out part of a character.

    A token may hold some of a character's UTF-8 bytes; decoded alone it shows as U+FFFD. Such an end is held back until it is whole.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._given = 0  # how much of the window's text was given out

    def push(self, token: int) -> str:
        """The text that this token completes; empty while a character is incomplete."""
        self._tokens.append(token)
        text = self._tokenizer.decode(self._tokens)
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        piece = text[self._given :]
        # The last token stays as context: some decoders treat the first token of a text differently.
        self._tokens = self._tokens[-1:]
        self._given = len(self._tokenizer.decode(self._tokens))
        return piece

    def flush(self) -> str:
        """What is still held back, incomplete or not."""
        piece = self._tokenizer.decode(self._tokens)[self._given :]
        self._tokens, self._given = [], 0
        return piece
