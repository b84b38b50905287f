"""TensorRT-LLM's expert statistics: a folder of safetensors files, parsed here and distrusted."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from optimizer.mapping.counts import MOST_BYTES, Ints, Tally, shown, sum_passes
from optimizer.mapping.plain_json import parse_json

_MOST_HEADER = 8_000_000  # bytes
_MOST_TOGETHER = 2_000_000_000  # bytes of all ranks
_MOST_RANKS = 4096
_TYPES = {"I8": "<i1", "I16": "<i2", "I32": "<i4", "I64": "<i8", "U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}
_FILE = re.compile(r"rank(0|[1-9][0-9]{0,4})\.safetensors")
_KEY = re.compile(r"[0-9]{1,12}_([0-9]{1,6})")


def read_statistics(folder: Path) -> Ints:
    """Counts [layers, experts] summed over iterations and ranks; layers without routed experts are zero. Raises InputError.

    `rank<r>.safetensors` holds `<iteration>_<layer>` -> tokens per expert, `meta_info.json` the
    number of experts (TensorRT-LLM, `ExpertStatistic`, enabled by EXPERT_STATISTIC_ITER_RANGE).
    """
    tally = Tally(str(folder))
    for file in _rank_files(folder):
        for layer, vectors in _by_layer(file).items():
            counts = sum_passes(np.stack(vectors)[:, np.newaxis], str(file), layer)
            tally.add(layer, counts[0], f"{file.name}: layer {layer}")
    found = tally.matrix()
    stated = _stated_experts(folder)
    if stated not in (None, found.shape[1]):
        raise InputError(
            f"{folder}: meta_info.json: num_experts is {shown(stated)}, the files hold {found.shape[1]} counts per layer; correct it"
        )
    return found


def _by_layer(file: Path) -> dict[int, list[NDArray[Any]]]:
    """The vectors of one rank, those of each layer equally long, in the order of the file."""
    found: dict[int, list[NDArray[Any]]] = {}
    for key, counts in read_vectors(file).items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise InputError(f"{file}: {shown(key)} is not a key such as 100_3 (iteration, layer); give the counts, not raw selections")
        vectors = found.setdefault(int(match.group(1)), [])
        vectors.append(counts)
        if len(counts) != len(vectors[0]):
            raise InputError(
                f"{file}: {key} has {len(counts)} counts, an earlier iteration {len(vectors[0])}; record again, keep one model"
            )
    return found


def _rank_files(folder: Path) -> list[Path]:
    found = {int(match.group(1)): file for file in folder.iterdir() if (match := _FILE.fullmatch(file.name))}
    if not found:
        raise InputError(
            f"{folder}: a folder without rank0.safetensors; give TensorRT-LLM's folder of expert statistics, or one file of counts"
        )
    absent = next((n for n in range(len(found)) if n not in found), None)
    if absent is not None:
        raise InputError(
            f"{folder}: rank{absent}.safetensors is missing, rank{max(found)}.safetensors is there; put all ranks' files there"
        )
    if len(found) > _MOST_RANKS:
        raise InputError(f"{folder}: files of {len(found)} ranks; at most {_MOST_RANKS} are read")
    files = [found[n] for n in range(len(found))]
    together = sum(file.stat().st_size for file in files)
    if together > _MOST_TOGETHER:
        raise InputError(f"{folder}: {together} bytes; at most {_MOST_TOGETHER} are read, record fewer iterations")
    return files


def _stated_experts(folder: Path) -> Any:
    file = folder / "meta_info.json"
    if not file.is_file():
        return None
    if file.stat().st_size > _MOST_HEADER:
        raise InputError(f"{file}: {file.stat().st_size} bytes; shorten it")
    found = parse_json(file.read_bytes(), str(file))
    return found.get("num_experts") if isinstance(found, dict) else None


def read_vectors(path: Path) -> dict[str, NDArray[Any]]:
    """The named integer vectors of a safetensors file. Raises InputError.

    8 bytes of header length, a JSON header name -> {dtype, shape, data_offsets}, then the data
    without gaps or overlaps (huggingface/safetensors, "Format").
    """
    if not path.is_file():
        raise InputError(f"{path}: not a file; put the recorded file there")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes; at most {MOST_BYTES} are read, record fewer iterations")
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(_MOST_HEADER, len(content) - 8):
        raise InputError(f"{path}: a header of {length} bytes does not fit a file of {len(content)}; save it again")
    header = parse_json(content[8 : 8 + length], f"{path}: header")
    if not isinstance(header, dict):
        raise InputError(f"{path}: header: must be an object, got {shown(header)}")
    vectors = {name: _vector(entry, f"{path}: {shown(name)}") for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for name, (_, begin, stop) in sorted(vectors.items(), key=lambda item: item[1][1:]):
        if begin != end:
            raise InputError(f"{path}: {shown(name)}: data_offsets begin at {begin}, must be {end}, without gap or overlap")
        end = stop
    if end != len(content) - 8 - length:
        raise InputError(f"{path}: its tensors end at byte {end} of the data, {len(content) - 8 - length} are there; save it again")
    data = memoryview(content)[8 + length :]
    return {name: np.frombuffer(data[begin:stop], kind) for name, (kind, begin, stop) in vectors.items()}


def _vector(entry: Any, origin: str) -> tuple[np.dtype[Any], int, int]:
    """(type, first byte, byte after the last) of one tensor in the data."""
    fields = entry if isinstance(entry, dict) else {}
    kind: Any = fields.get("dtype")
    shape: Any = fields.get("shape")
    offsets: Any = fields.get("data_offsets")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise InputError(f"{origin}: dtype {shown(kind)} is not an integer type; save counts as I32 or I64")
    if not _naturals(shape, 1):
        raise InputError(f"{origin}: must be a vector of counts per expert, its shape one length, got {shown(shape)}")
    if not _naturals(offsets, 2):
        raise InputError(f"{origin}: data_offsets must be two positions in the data, got {shown(offsets)}")
    dtype = np.dtype(_TYPES[kind])
    if offsets[1] - offsets[0] != shape[0] * dtype.itemsize:
        raise InputError(f"{origin}: {shape[0]} counts do not fit its data_offsets {offsets}; save it again")
    return dtype, offsets[0], offsets[1]


def _naturals(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length and all(type(v) is int and 0 <= v < 2**63 for v in value)
