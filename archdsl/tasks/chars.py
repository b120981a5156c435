"""Language modelling on characters of a text: a file, or the source of Python's own library, which is always there.

The last tenth of the text is held out: its first half is "valid", its second "test".
"""

from __future__ import annotations

import sysconfig
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.tasks.base import Batch, Measure, Option, Options, Split, generator, token_metrics
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import TokenTask

if TYPE_CHECKING:
    import torch

    from archdsl.runtime.tokenizer import CharTokenizer

MAX_BYTES = 64 * 1024 * 1024
_LIBRARY_CHARACTERS = 2_000_000


class Chars(TokenTask):
    """Windows of `length` characters; each is asked for the one that follows. `text`: a file's path, or "python"."""

    name = "chars"
    options: ClassVar[Options] = {
        "text": Option("python", 'a file of UTF-8 text, or "python" for the source of its library'),
        "length": Option(128, "characters in a row", 1, 1 << 20),
    }

    def __init__(self, text: str = "python", length: int = 128):
        from archdsl.runtime.tokenizer import CharTokenizer

        content = _read(text)
        self.length = length
        self.tokenizer: CharTokenizer = CharTokenizer.of(content)
        self.vocab = self.tokenizer.vocab_size
        numbers = self._numbers(content)
        held = max(len(numbers) // 10, 2 * (length + 1))
        if len(numbers) < 2 * held:
            raise refuse("chars", f"a text of {len(numbers)} characters is too short for rows of {length}", "Use a longer text.")
        cut, middle = len(numbers) - held, len(numbers) - held // 2
        self._parts = {"train": numbers[:cut], "valid": numbers[cut:middle], "test": numbers[middle:]}

    def _numbers(self, content: str) -> torch.Tensor:
        import numpy as np
        import torch

        points = np.frombuffer(content.encode("utf-32-le"), dtype=np.uint32)
        alphabet = np.array([ord(character) for character in self.tokenizer.alphabet], dtype=np.uint32)
        return torch.from_numpy(np.searchsorted(alphabet, points).astype(np.int64))

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import torch

        part = self._parts[split]
        starts = torch.from_numpy(generator(seed, step, split).integers(0, len(part) - self.length, (size, 1)))
        rows = part[starts + torch.arange(self.length + 1)]
        return {"tokens": rows[:, :-1].contiguous(), "targets": rows[:, 1:].contiguous()}

    @property
    def measures(self) -> dict[str, Measure]:
        """Guessing here is by how often each character occurs in the held-out text."""
        import torch

        counts = torch.bincount(self._parts["valid"], minlength=self.vocab).double()
        shares = counts / counts.sum()
        entropy = float(-(shares * shares.clamp(min=1e-12).log()).sum())
        return {
            "loss": Measure("cross-entropy in nats per character", "min", entropy),
            "bits_per_char": Measure("the loss in bits", "min", entropy / log(2)),
            "accuracy": Measure("share of characters foretold", "max", float(shares.max())),
        }

    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]:
        found = token_metrics(outputs, batch)
        return {"loss": found["loss"], "bits_per_char": found["loss"] / log(2), "accuracy": found["accuracy"]}

    def show(self, batch: Batch, row: int) -> str:
        return repr(self.tokenizer.decode(batch["tokens"][row].tolist()))


def _read(text: str) -> str:
    if text == "python":
        return _library()
    path = Path(text)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _absent(f"`{text}` is larger than {MAX_BYTES} bytes", "", "Use a part of it.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _absent(f"the text `{text}` cannot be read", str(error), "Give a file of UTF-8 text, or `python`.") from None


def _library() -> str:
    """The first two million characters of the modules of Python's library, by name. It differs between Python versions."""
    parts, total = [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        parts.append(_plain(path))
        total += len(parts[-1])
        if total >= _LIBRARY_CHARACTERS:
            break
    if not parts:
        raise _absent("Python's library is not here as source", "", "Give a file of text.")
    return "".join(parts)[:_LIBRARY_CHARACTERS]


def _plain(path: Path) -> str:
    """A text in ASCII, other characters as `?`, to keep the alphabet small."""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    return "".join(c if " " <= c <= "~" or c in "\n\t" else "?" for c in text)


def _absent(title: str, note: str, hint: str) -> ArchError:
    return ArchError(Diagnostic("AD0815", title, note=note, hint=hint))
