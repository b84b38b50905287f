"""NumPy's .npy files of counts, the header checked before anything is allocated; nothing is unpickled."""

import re
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.errors import InputError
from optimizer.mapping.counts import MOST_BYTES, Ints, check_shape, sum_passes

_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 65_536  # bytes
_NUMBERS = re.compile(r"[<>=|]?(?:[iu][1248]|f[248])")
_FIELDS = {
    "descr": re.compile(r"""['"]descr['"]\s*:\s*['"]([^'"]{1,20})['"]"""),
    "fortran_order": re.compile(r"""['"]fortran_order['"]\s*:\s*(True|False)"""),
    "shape": re.compile(r"""['"]shape['"]\s*:\s*\(([0-9, ]*)\)"""),
}


class _Header(NamedTuple):
    dtype: np.dtype[np.generic]
    fortran: bool
    shape: tuple[int, ...]
    end: int
    """bytes before the data"""


def read_npy(path: Path) -> Ints:
    """An array [experts], [layers, experts] or [passes, layers, experts] as [layers, experts].

    The format is NumPy's NEP 1, versions 1 to 3. Raises InputError.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InputError(f"{path}: {size} bytes; files above {MOST_BYTES} bytes are refused, save the sum over passes")
    with path.open("rb") as file:
        header = _header(file.read(12 + _MOST_HEADER), path)
        promised = prod(header.shape) * header.dtype.itemsize
        if promised != size - header.end:
            raise InputError(f"{path}: its header promises {promised} bytes of data, {size - header.end} are there; save it again")
        file.seek(header.end)
        flat = np.fromfile(file, header.dtype, prod(header.shape))
    values = flat.reshape(header.shape[::-1]).T if header.fortran else flat.reshape(header.shape)
    return sum_passes(values.reshape((1,) * (3 - values.ndim) + values.shape), str(path))


def _header(start: bytes, path: Path) -> _Header:
    if start[:6] != _MAGIC or len(start) < 12:
        raise InputError(f"{path}: not a .npy file; write it with numpy.save")
    version = start[6]
    begin = 10 if version == 1 else 12
    end = begin + int.from_bytes(start[8:begin], "little")
    if version not in (1, 2, 3) or end > len(start):
        raise InputError(f"{path}: its header cannot be read; save it again with numpy.save")
    text = start[begin:end].decode("latin-1")
    found = {name: pattern.search(text) for name, pattern in _FIELDS.items()}
    descr, fortran, dimensions = (match.group(1) if match else None for match in found.values())
    if descr is None or not _NUMBERS.fullmatch(descr):
        what = (
            "a pickle, which can run code and is not read"
            if descr and "O" in descr
            else f"values of type {descr}"
            if descr
            else "values of no plain type"
        )
        raise InputError(f"{path}: holds {what}; save the counts with numpy.save as integers")
    if fortran is None or dimensions is None:
        raise InputError(f"{path}: its header has no order or no shape; save it again with numpy.save")
    shape = tuple(int(d) for d in dimensions.replace(" ", "").split(",") if 0 < len(d) <= 30)
    if not 1 <= len(shape) <= 3:
        raise InputError(f"{path}: has {len(shape)} dimensions; save [layers, experts], or [passes, layers, experts] to be summed")
    check_shape(shape[-2] if len(shape) > 1 else 1, shape[-1], str(path))
    if shape[0] < 1:
        raise InputError(f"{path}: holds no passes; save at least one")
    return _Header(np.dtype(descr), fortran == "True", shape, end)
