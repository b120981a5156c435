"""safetensors files and Hugging Face folders (config.json beside *.safetensors, sharded or not).

Only plain data is read: JSON with a size limit, of which a weight map may ask for named settings, and safetensors. Nothing in a folder
can name code to load, no pickle is opened (pytorch_model.bin is refused), and an index may only name files of its own folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from archdsl.diagnostics import ArchError, Diagnostic

if TYPE_CHECKING:
    import torch

MAX_JSON = 32 * 1024 * 1024  # indexes of very large models take a few megabytes


class SafetensorsFile:
    """One .safetensors file, memory-mapped. `metadata` is its own table of strings (empty if it has none)."""

    format = "safetensors"
    architecture: str | None = None
    config: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}

    def __init__(self, path: str | Path):
        from safetensors import SafetensorError, safe_open

        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="pt").__enter__()
            self.metadata: Mapping[str, str] = self._file.metadata() or {}
            self.shapes = {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise ArchError(
                Diagnostic(
                    "AD0802",
                    f"`{self.path.name}` is damaged or not a safetensors file",
                    note=f"{self.path}: {error}",
                    hint="Download or save the file again.",
                )
            ) from None

    def read(self, name: str) -> torch.Tensor:
        """One tensor, in the type it was saved in."""
        return self._file.get_tensor(name)

    def close(self) -> None:
        self._file.__exit__(None, None, None)


class HuggingFaceFolder:
    """A local Hugging Face folder: `config`, `shapes` over all its shards, and `read(name)`."""

    format = "huggingface"

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings: Mapping[str, Any] = read_json(self.path / "config.json")  # as they are; `config` has what maps may compare
        self.config: Mapping[str, Any] = _settings(self.settings)
        self._shards = [SafetensorsFile(file) for file in self._files()]
        self._home = {name: shard for shard in self._shards for name in shard.shapes}
        self.shapes = {name: shard.shapes[name] for name, shard in self._home.items()}

    @property
    def architecture(self) -> str | None:
        value = self.config.get("model_type")
        return value if isinstance(value, str) else None

    def _files(self) -> list[Path]:
        single, index = self.path / "model.safetensors", self.path / "model.safetensors.index.json"
        if index.is_file():
            table = read_json(index).get("weight_map")
            if not isinstance(table, dict):
                _refuse(index, "it has no `weight_map`")
            names = sorted({str(name) for name in table.values()})
            for name in names:
                if Path(name).name != name or not name.endswith(".safetensors"):
                    _refuse(index, f"it names `{name}`; only .safetensors files of the same folder are read")
                if not (self.path / name).is_file():
                    _refuse(index, f"the shard `{name}` is missing", "Download the missing file.")
            return [self.path / name for name in names]
        if single.is_file():
            return [single]
        files = sorted(self.path.glob("*.safetensors"))
        if not files:
            pickled = any(self.path.glob("*.bin"))
            raise ArchError(
                Diagnostic(
                    "AD0801",
                    f"`{self.path}` holds no .safetensors file",
                    note="A .bin file is a pickle, which can run code when opened; it is never read." if pickled else "",
                    hint="Convert the weights to safetensors first." if pickled else "Give the folder that holds model.safetensors.",
                )
            )
        return files

    def read(self, name: str) -> torch.Tensor:
        """One tensor, in the type it was saved in."""
        return self._home[name].read(name)

    def close(self) -> None:
        for shard in self._shards:
            shard.close()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of at most MAX_JSON bytes. Raises AD0801 if it cannot be read, AD0802 if it is not one."""
    try:
        if path.stat().st_size > MAX_JSON:
            _refuse(path, f"it is larger than {MAX_JSON} bytes")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchError(Diagnostic("AD0801", f"cannot read `{path}`", note=str(error))) from None
    except (ValueError, RecursionError) as error:
        _refuse(path, f"it is not valid JSON: {error}")
    if not isinstance(data, dict):
        _refuse(path, "it is not a JSON object")
    return data


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The plain settings of a config.json, those inside another by their path; `rope_theta` also where newer files keep it."""
    inside = {f"{key}.{name}": inner for key, value in config.items() if isinstance(value, dict) for name, inner in value.items()}
    plain = {key: value for key, value in {**config, **inside}.items() if isinstance(value, str | int | float | bool)}
    theta = plain.get("rope_parameters.rope_theta")
    if "rope_theta" not in plain and isinstance(theta, int | float):
        plain["rope_theta"] = theta
    return plain


def _refuse(path: Path, why: str, hint: str = "Download the file again.") -> NoReturn:
    raise ArchError(Diagnostic("AD0802", f"`{path.name}` cannot be used", note=f"{path}: {why}.", hint=hint))
