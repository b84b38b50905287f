"""Measured expert loads: how many tokens were routed to each expert of each layer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from models.errors import InputError
from optimizer.mapping.arrays import read_npy
from optimizer.mapping.counts import BELOW, Ints, check_shape
from optimizer.mapping.load_texts import read_csv, read_json, read_json_lines, read_log
from optimizer.mapping.safetensors import read_statistics

_READERS: dict[str, Callable[[Path], Ints]] = {
    ".npy": read_npy,
    ".csv": read_csv,
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".log": read_log,
    ".txt": read_log,
}
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".npz")
_LONGEST_NAME = 120


class LoadMatrix(NamedTuple):
    """The loads of one workload: `counts[layer][expert]` tokens were routed there.

    Rows are as in the file, or by layer number where it gives numbers; a row of zeros is a layer
    without routed experts. Every row adds up to less than 2**53.
    """

    name: str
    counts: tuple[tuple[int, ...], ...]


def read_loads(path: Path) -> LoadMatrix:
    """The loads in a file of any known format, or in TensorRT-LLM's folder. Raises InputError with one sentence."""
    try:
        counts = read_statistics(path) if path.is_dir() else _reader(path)(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    check_shape(counts.shape[0], counts.shape[1], str(path))
    rows = tuple(tuple(int(c) for c in row) for row in counts)
    if not counts.any():
        raise InputError(f"{path}: every count is 0; record some tokens and save them again")
    heavy = next((n for n, row in enumerate(rows) if sum(row) >= BELOW), None)
    if heavy is not None:
        raise InputError(f"{path}: layer {heavy}: {sum(rows[heavy])} tokens in all; give fewer passes, sums must stay below 2**53")
    return LoadMatrix(_label(path, 1), rows)


def _reader(path: Path) -> Callable[[Path], Ints]:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder; check the path")
    if suffix in _PICKLES:
        raise InputError(
            f"{path}: {suffix} may hold a pickle, which can run code, and is not read; save logical_count with numpy.save, "
            + 'e.g. numpy.save("loads.npy", torch.load(FILE, weights_only=True)["logical_count"].numpy())'
        )
    if suffix == ".safetensors":
        raise InputError(f"{path}: is one rank of several; give the folder with all rank*.safetensors")
    if suffix not in _READERS:
        raise InputError(f'{path}: "{suffix}" is not a format of counts; use one of {", ".join(_READERS)} or TensorRT-LLM\'s folder')
    return _READERS[suffix]


def read_workloads(paths: Sequence[Path]) -> tuple[LoadMatrix, ...]:
    """The loads of several workloads of one model, each under a name of its own. Raises InputError where they cannot be of one model."""
    if not paths:
        raise InputError("no loads; give at least one file of token counts")
    found = [read_loads(path) for path in paths]
    first, shape = found[0].counts, (len(found[0].counts), len(found[0].counts[0]))
    for path, (_, counts) in zip(paths, found, strict=True):
        if (len(counts), len(counts[0])) != shape:
            raise InputError(
                f"{path}: {len(counts)} layers of {len(counts[0])} experts, {paths[0]} has {shape[0]} of {shape[1]}; "
                "all must be of one model, with the same rows"
            )
        odd = next((n for n in range(shape[0]) if any(counts[n]) != any(first[n])), None)
        if odd is not None:
            full, empty = (path, paths[0]) if any(counts[odd]) else (paths[0], path)
            raise InputError(f"{empty}: layer {odd} has no tokens, in {full} it has; give the same layers in all")
    return tuple(LoadMatrix(name, counts) for name, (_, counts) in zip(_labels(paths), found, strict=True))


def _labels(paths: Sequence[Path]) -> list[str]:
    """File names, with their folder where two are alike, and numbered where that does not tell them apart."""
    labels = next((found for parts in (1, 2) if len(set(found := [_label(p, parts) for p in paths])) == len(paths)), None)
    if labels is None:
        labels = []
        for path in paths:
            label = name = _label(path, 2)
            count = 1
            while label in labels:
                count += 1
                label = f"{name[-_LONGEST_NAME + 8 :]} ({count})"
            labels.append(label)
    return labels


def _label(path: Path, parts: int) -> str:
    """The last `parts` parts of the path without its suffix, printable and not too long."""
    whole = path.absolute()
    kept = (*whole.parent.parts[1:], whole.stem if whole.suffix.lower() in _READERS else whole.name)[-parts:]
    text = "".join(c if c.isprintable() else "_" for c in "/".join(kept))
    return text[-_LONGEST_NAME:] or "loads"
