"""GGUF files: metadata and tensors, memory-mapped and dequantised on demand.

The header is read here, with every length checked against the size of the file before it is used, so that a damaged or hostile file
ends in a diagnostic at once; the block formats themselves (Q4_1, Q8_0, …) are decoded by the `gguf` package. Format: the GGUF
specification, versions 2 and 3, little-endian (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from archdsl.diagnostics import ArchError, Diagnostic

if TYPE_CHECKING:
    import torch

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4
_MAX_ITEMS = 10_000_000  # entries of one metadata array


@dataclass(frozen=True, slots=True)
class GGUFTensor:
    """Where a tensor lies. `shape` is in the usual order (outermost first), `type` the number of its block format."""

    name: str
    shape: tuple[int, ...]
    type: int
    start: int
    nbytes: int


class GGUFFile:
    """An open GGUF file: `metadata`, `shapes` by tensor name, and `read(name)`.

    Raises ArchError AD0802 if the file is damaged or of a kind that cannot be read.
    """

    format = "gguf"

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ArchError(
                Diagnostic("AD0801", f"cannot read `{self.path}`", note=str(error), hint="Give the path of a .gguf file.")
            ) from None
        header = _Header(self._data, self.path)
        self.metadata: Mapping[str, Any] = header.metadata
        self.tensors: Mapping[str, GGUFTensor] = header.tensors
        self.shapes = {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def architecture(self) -> str | None:
        """The file's own word for its family: "llama", "gpt2", …"""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def config(self) -> Mapping[str, Any]:
        """The metadata keys that a weight map may check."""
        return self.metadata

    @property
    def settings(self) -> Mapping[str, Any]:
        return self.metadata

    def quantisation(self, name: str) -> str:
        """The block format of a tensor, e.g. "Q4_1"."""
        from gguf import GGMLQuantizationType

        return GGMLQuantizationType(self.tensors[name].type).name

    def read(self, name: str) -> torch.Tensor:
        """One tensor as float32, dequantised. It does not share memory with the file."""
        import numpy as np
        import torch
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize, quant_shape_to_byte_shape

        tensor = self.tensors[name]
        kind = GGMLQuantizationType(tensor.type)
        raw = np.frombuffer(self._data, np.uint8, tensor.nbytes, tensor.start)
        try:
            values = dequantize(raw.reshape(quant_shape_to_byte_shape(tensor.shape, kind)), kind)
        except (NotImplementedError, ValueError) as error:
            raise ArchError(
                Diagnostic(
                    "AD0802",
                    f"the tensor `{name}` cannot be decoded",
                    note=f"{self.path}: format {kind.name}: {error}",
                    hint="Convert the file to F16 or Q8_0, or install a newer `gguf`.",
                )
            ) from None
        return torch.from_numpy(np.array(values, dtype=np.float32).reshape(tensor.shape))

    def close(self) -> None:
        self._data.close()


class _Header:
    """Reads the header once, from start to end; every read is checked against the end of the file."""

    def __init__(self, data: mmap.mmap, path: Path):
        self.data, self.path, self.at = data, path, 0
        if self.take(4) != b"GGUF":
            self.fail("it does not begin with the letters GGUF", hint="Is this really a .gguf file, fully downloaded?")
        version = self.number("<I")
        if version not in (2, 3):
            self.fail(f"it says GGUF version {version}; versions 2 and 3 are known")
        tensor_count, entry_count = self.number("<Q"), self.number("<Q")
        # A tensor takes at least 24 bytes of header, a metadata entry 12: larger counts cannot be true.
        if tensor_count * 24 + entry_count * 12 > len(data):
            self.fail(f"it announces {tensor_count} tensors and {entry_count} metadata entries, more than its size can hold")
        self.metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = self.string()
            self.metadata[key] = self.value(self.number("<I"))
        self.tensors = self.locate([self.tensor_info() for _ in range(tensor_count)])

    def fail(self, why: str, hint: str = "Download the file again and compare its size or checksum with the publisher's.") -> NoReturn:
        raise ArchError(Diagnostic("AD0802", f"`{self.path.name}` is damaged or not a GGUF file", note=f"{self.path}: {why}.", hint=hint))

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.data):
            self.fail(f"the header ends in the middle, at byte {len(self.data)}")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth > 1:
            self.fail(f"unknown metadata type {kind} at byte {self.at}")
        item, count = self.number("<I"), self.number("<Q")
        width = struct.calcsize(_SCALARS[item]) if item in _SCALARS else 8
        if count > _MAX_ITEMS or count * width > len(self.data) - self.at:
            self.fail(f"a metadata list announces {count} entries, more than the file can hold")
        if item in _SCALARS:
            return list(struct.unpack(f"<{count}{_SCALARS[item][1]}", self.take(count * width)))
        if item == _STRING:
            return self.strings(count)
        return [self.value(item, depth + 1) for _ in range(count)]

    def strings(self, count: int) -> list[str]:
        """Many strings at once: vocabularies have 10^5 of them, so this loop is kept tight."""
        data, at, end, size = self.data, self.at, len(self.data), struct.Struct("<Q").unpack_from
        found: list[str] = []
        for _ in range(count):
            if at + 8 > end:
                self.fail("a list of strings runs past the end of the file")
            (length,) = size(data, at)
            at += 8
            if length > end - at:
                self.fail("a list of strings runs past the end of the file")
            found.append(data[at : at + length].decode("utf-8", errors="replace"))
            at += length
        self.at = at
        return found

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        name, rank = self.string(), self.number("<I")
        if rank > _MAX_DIMENSIONS:
            self.fail(f"the tensor `{name}` announces {rank} dimensions; at most {_MAX_DIMENSIONS} are allowed")
        shape = tuple(self.number("<Q") for _ in range(rank))[::-1]  # the file lists the innermost axis first
        return name, shape, self.number("<I"), self.number("<Q")

    def locate(self, entries: list[tuple[str, tuple[int, ...], int, int]]) -> dict[str, GGUFTensor]:
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20:
            self.fail(f"its alignment is {alignment!r}")
        begin = -(-self.at // alignment) * alignment
        found: dict[str, GGUFTensor] = {}
        for name, shape, kind, offset in entries:
            if kind not in list(GGMLQuantizationType):
                self.fail(f"the tensor `{name}` has the unknown block format {kind}", hint="Install a newer `gguf`.")
            block, width = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
            if name in found:
                self.fail(f"the tensor `{name}` occurs twice")
            if shape and shape[-1] % block:
                self.fail(f"the rows of `{name}` ({shape[-1]} numbers) are not whole blocks of {block}")
            nbytes = prod(shape) // block * width
            if begin + offset + nbytes > len(self.data):
                self.fail(f"the tensor `{name}` should end at byte {begin + offset + nbytes}, but the file has {len(self.data)}")
            found[name] = GGUFTensor(name, shape, kind, begin + offset, nbytes)
        return found
