"""GGUF: files written by the `gguf` package read back, and damaged ones refused."""

from __future__ import annotations

import random
import struct

import gguf
import numpy as np
import pytest
import torch

from archdsl.diagnostics import ArchError
from archdsl.runtime.gguf import GGUFFile


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    random_numbers = np.random.default_rng(0)
    tensors = {
        "plain": random_numbers.standard_normal((3, 5)).astype(np.float32),
        "half": random_numbers.standard_normal((2, 4)).astype(np.float16),
        "cube": random_numbers.standard_normal((2, 3, 4)).astype(np.float32),
    }
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 7)
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.add_bool("flag", True)
    writer.add_array("names", ["a", "Ġb", "日"])
    writer.add_array("kinds", [1, 2, 3])
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    blocks = random_numbers.standard_normal((4, 64)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q4_1, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.BF16):
        packed = gguf.quants.quantize(blocks, kind)
        writer.add_tensor(kind.name, packed, raw_dtype=kind)
        tensors[kind.name] = gguf.quants.dequantize(packed, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, tensors


def test_reads_what_the_gguf_package_wrote(written):
    path, tensors = written
    file = GGUFFile(path)
    assert file.architecture == "llama"
    assert file.metadata["llama.block_count"] == 7
    assert file.metadata["names"] == ["a", "Ġb", "日"]
    assert file.metadata["kinds"] == [1, 2, 3]
    assert file.metadata["flag"] is True
    assert set(file.shapes) == set(tensors)
    for name, values in tensors.items():
        assert file.shapes[name] == values.shape
        assert torch.equal(file.read(name), torch.from_numpy(values.astype(np.float32)))
    assert file.quantisation("Q4_1") == "Q4_1"
    file.close()


def test_every_truncation_is_refused(written, tmp_path):
    content = written[0].read_bytes()
    for length in [0, 3, 4, 8, 23, 24, 40, *range(60, len(content) - 1, 97)]:
        path = tmp_path / "cut.gguf"
        path.write_bytes(content[:length])
        with pytest.raises(ArchError) as caught:
            GGUFFile(path)
        assert caught.value.diagnostics[0].code in ("AD0801", "AD0802")


def test_random_damage_never_ends_in_a_traceback(written, tmp_path):
    content, numbers = written[0].read_bytes(), random.Random(1)
    path = tmp_path / "damaged.gguf"
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(numbers.randint(1, 8)):
            damaged[numbers.randrange(min(len(damaged), 700))] = numbers.randrange(256)
        path.write_bytes(damaged)
        try:
            file = GGUFFile(path)
            for name in file.shapes:
                file.read(name)
        except ArchError as error:
            assert error.diagnostics[0].code == "AD0802"  # noqa: PT017


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<4sIQQ", b"GGUF", 3, 1 << 60, 0),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60),
        struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 4, 1 << 61) + b"\0" * 64,  # a list of 2^61 numbers
        struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 9, 1 << 40) + b"\0" * 64,
        struct.pack("<4sIQQ", b"GGUF", 1, 0, 0),
        struct.pack(">4sIQQ", b"GGUF", 3, 0, 0),
    ],
)
def test_impossible_headers_are_refused_at_once(header, tmp_path):
    path = tmp_path / "bomb.gguf"
    path.write_bytes(header)
    with pytest.raises(ArchError, match="AD0802"):
        GGUFFile(path)
