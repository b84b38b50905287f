"""Measured loads in every format come out as the same counts; what cannot be used is refused in one helpful sentence."""

import io
import json
import os
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reading import REMEDY

from models.errors import InputError
from optimizer.mapping.loads import LoadMatrix, read_loads, read_workloads
from optimizer.outcomes import one_line

Rows = list[list[int]]

ROWS: Rows = [[0, 0, 0, 0], [5, 0, 7, 1], [2, 2, 2, 9]]


def refusal(path: Path, *naming: str) -> str:
    """The one sentence that reading ends with, naming the file, these words and a remedy."""
    with pytest.raises(InputError) as error:
        read_loads(path)
    return checked(str(error.value), path.name, *naming)


def checked(sentence: str, *naming: str) -> str:
    assert [word for word in naming if word not in sentence] == [], sentence
    assert REMEDY.search(sentence), f"no remedy: {sentence!r}"
    assert one_line(sentence) == sentence, f"long or not printable: {sentence[:200]!r}"
    return sentence


def npy(array: Any, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), version)
    return file.getvalue()


def npy_of(header: str, data: bytes = b"") -> bytes:
    """A .npy file with any header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1") + data


def promising(shape: str, descr: str = "'<i8'") -> bytes:
    """A .npy header of this shape, without data."""
    return npy_of(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


def csv(rows: Rows, header: bool = False, layers: str | None = None) -> bytes:
    names = ([] if layers is None else ["layer" if layers == "{}" else ""]) + [f"expert_{n}" for n in range(len(rows[0]))]
    lines = [",".join(([] if layers is None else [layers.format(n)]) + [str(c) for c in row]) for n, row in enumerate(rows)]
    return "\n".join([",".join(names), *lines] if header else lines).encode()


def json_lines(rows: Rows) -> bytes:
    """Each layer twice, those of zeros never, the last first."""
    halves = [(n, [c // 2 for c in row], [c - c // 2 for c in row]) for n, row in enumerate(rows) if any(row)]
    parts = [{"layer": n, "counts": part, "step": 1} for n, *both in reversed(halves) for part in both]
    return "\n\n".join(map(json.dumps, parts)).encode()


def log(rows: Rows) -> bytes:
    """Two steps of one or two ranks, between other lines."""
    ranks = 2 if len(rows[0]) % 2 == 0 else 1
    slots = len(rows[0]) // ranks
    lines = ["INFO started"]
    for n, row in enumerate(rows):
        for rank in reversed(range(ranks)):
            mine = row[rank * slots : (rank + 1) * slots]
            for step, mode, part in ((0, "prefill", [c // 3 for c in mine]), (1, "decode", [c - c // 3 for c in mine])):
                data = ("\t" if step else "\\t").join(map(str, part))
                lines.append(f"INFO [dump activation] {mode} step {step} in rank {rank} for layer {n} get {slots} experts data: {data}")
    return "\r\n".join(lines).encode()


def safetensors(vectors: dict[str, Any], **changes: Any) -> bytes:
    """A safetensors file; `changes` replaces entries of its header."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for key, values in vectors.items():
        array = np.asarray(values)
        kind = {"i": "I", "u": "U", "f": "F"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
        header[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header | changes).encode()
    return struct.pack("<Q", len(text)) + text + data


def statistics(folder: Path, rows: Rows) -> None:
    """Two ranks and two iterations of TensorRT-LLM, without the layers of zeros; files that are not counts lie beside."""
    for rank in range(2):
        parts = {
            f"{100 + iteration}_{n}": np.array([(c + 2 * rank + iteration) // 4 for c in row], np.int32 if rank else np.int64)
            for iteration in range(2)
            for n, row in enumerate(rows)
            if any(row)
        }
        (folder / f"rank{rank}.safetensors").write_bytes(safetensors(parts))
        (folder / f"rank{rank}_raw.safetensors").write_bytes(b"raw selections")
    (folder / "meta_info.json").write_text(json.dumps({"num_experts": len(rows[0]), "num_experts_per_token": 2}))


FORMATS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "npy": (".npy", npy),
    "npy of floats": (".npy", lambda rows: npy(np.array(rows, np.float64))),
    "npy big-endian": (".NPY", lambda rows: npy(np.array(rows, ">u4"))),
    "npy by columns": (".npy", lambda rows: npy(np.asfortranarray(np.array(rows, np.int64)))),
    "npy version 2": (".npy", lambda rows: npy(rows, (2, 0))),
    "npy of passes": (".npy", lambda rows: npy(np.stack([np.array(rows) // 2, np.array(rows) - np.array(rows) // 2]))),
    "csv with a header": (".csv", lambda rows: csv(rows, header=True)),
    "csv with layers": (".csv", lambda rows: csv(rows, header=True, layers="{}")),
    "csv of OmniPlacement": (".csv", lambda rows: csv(rows, header=True, layers="layer_{}")),
    "csv of a spreadsheet": (".csv", lambda rows: b"\xef\xbb\xbf" + csv(rows, header=True).replace(b"\n", b"\r\n") + b"\r\n"),
    "csv of floats": (".csv", lambda rows: "\n".join(",".join(f"{c:.18e}" for c in row) for row in rows).encode()),
    "list": (".json", lambda rows: json.dumps(rows).encode()),
    "SGLang": (".json", lambda rows: json.dumps({"rank": 0, "logical_count": [rows]}).encode()),
    "SGLang of floats": (".json", lambda rows: json.dumps({"logical_count": [[float(c) for c in row] for row in rows]}).encode()),
    "counts": (".json", lambda rows: json.dumps({"counts": rows}).encode()),
    "expert load": (".json", lambda rows: json.dumps({"expert_load": rows}).encode()),
    "an instance": (".json", lambda rows: json.dumps({"name": "x", "expert_load": {"counts": rows, "source": "measured: y"}}).encode()),
    "JSON lines": (".jsonl", json_lines),
    "log": (".log", log),
    "log as text": (".txt", log),
}


def read_as(name: str, rows: Rows) -> LoadMatrix:
    with tempfile.TemporaryDirectory() as folder:
        suffix, make = FORMATS[name]
        path = Path(folder, f"decode{suffix}")
        path.write_bytes(make(rows))
        return read_loads(path)


matrices = st.integers(1, 6).flatmap(
    lambda experts: st.lists(st.lists(st.integers(0, 10**6), min_size=experts, max_size=experts), min_size=1, max_size=5)
)


@pytest.mark.parametrize("name", FORMATS)
@given(rows=matrices, last=st.integers(1, 10**9))
@settings(max_examples=10, deadline=None)
def test_every_format_says_the_same_counts(name: str, rows: Rows, last: int) -> None:
    rows[-1][-1] = last
    assert read_as(name, rows) == LoadMatrix("decode", tuple(map(tuple, rows)))


@given(rows=matrices, last=st.integers(1, 10**6))
@settings(max_examples=10, deadline=None)
def test_the_statistics_of_all_ranks_and_iterations_add_up(rows: Rows, last: int) -> None:
    rows[-1][-1] = last
    with tempfile.TemporaryDirectory() as folder:
        statistics(Path(folder), rows)
        assert read_loads(Path(folder)).counts == tuple(map(tuple, rows))


@pytest.mark.parametrize(("suffix", "content"), [(".npy", npy([3, 4])), (".json", b"[3, 4]"), (".csv", b"3,4")])
def test_one_row_is_one_layer(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"one{suffix}"
    path.write_bytes(content)
    assert read_loads(path).counts == ((3, 4),)


def test_layers_that_a_file_does_not_name_are_without_experts(tmp_path: Path) -> None:
    path = tmp_path / "sparse.csv"
    path.write_text("layer,a,b\n3,1,2\n1,5,6\n", encoding="utf-8")
    assert read_loads(path).counts == ((0, 0), (5, 6), (0, 0), (1, 2))


def test_the_counts_are_plain_integers() -> None:
    assert {type(c) for name in FORMATS for row in read_as(name, ROWS).counts for c in row} == {int}


# What is no matrix of counts

WRONG: dict[str, tuple[str, bytes, str]] = {
    "a header of a million million": (".npy", promising("(1000000, 1000, 1000)"), "bytes of data"),
    "a header of 1e40": (".npy", promising(f"({10**29}, 1000, 64)"), "bytes of data"),
    "a header of many experts": (".npy", promising(f"(1, {10**12})"), "at most"),
    "a header of negative size": (".npy", promising("(-1, 4)"), "shape"),
    "a nested header": (".npy", promising("(1,)", "(" * 9000 + ")" * 9000), "type"),
    "a header cut": (".npy", npy([[1, 2]])[:40], "header"),
    "a header of code": (".npy", promising("(1,)", "__import__('os').abort()"), "type"),
    "data cut": (".npy", npy(ROWS)[:-1], "95 are there"),
    "data too long": (".npy", npy(ROWS) + b"0", "97 are there"),
    "no array": (".npy", b"hello world", "numpy.save"),
    "nothing": (".npy", b"", "numpy.save"),
    "a pickle": (".npy", promising("(1,)", "'|O'"), "pickle"),
    "structures": (".npy", npy(np.zeros((2, 2), [("a", "<i4")])), "integers"),
    "complex": (".npy", npy(np.ones((2, 2), complex)), "<c16"),
    "truths": (".npy", npy(np.ones((2, 2), bool)), "|b1"),
    "texts": (".npy", npy([["1", "2"]]), "<U1"),
    "a number alone": (".npy", npy(5), "0 dimensions"),
    "four dimensions": (".npy", npy(np.ones((1, 1, 1, 1), int)), "4 dimensions"),
    "no layers": (".npy", npy(np.ones((0, 4), int)), "no token counts"),
    "no experts": (".npy", npy(np.ones((4, 0), int)), "no token counts"),
    "no passes": (".npy", npy(np.ones((0, 4, 4), int)), "no passes"),
    "too many layers": (".npy", npy(np.ones((1001, 1), int)), "at most 1000"),
    "too many experts": (".npy", npy(np.ones((1, 4097), int)), "of 4096"),
    "a negative count": (".npy", npy([[1, 2], [3, -4]]), "layer 1, expert 1: -4"),
    "NaN": (".npy", npy([[1.0, np.nan]]), "layer 0, expert 1: NaN"),
    "infinity": (".npy", npy([[[1.0, 1.0]], [[1.0, np.inf]]]), "pass 1, layer 0, expert 1: Infinity"),
    "shares": (".npy", npy([[0.25, 0.75]]), "times the number of tokens"),
    "a count of 2**53": (".npy", npy([[2**53, 1]]), "9007199254740992"),
    "an unsigned count of 2**63": (".npy", npy(np.array([[2**63, 1]], np.uint64)), "9223372036854775808"),
    "a sum of 2**53": (".npy", npy(np.full((4, 1, 2), 2**51)), "fewer passes"),
    "a row of 2**53": (".npy", npy(np.full((1, 4), 2**51)), "fewer passes"),
    "zeros": (".npy", npy(np.zeros((2, 2), int)), "every count is 0"),
    "no csv": (".csv", b"", "no token counts"),
    "only a header": (".csv", b"layer,a,b", "no token counts"),
    "layers alone": (".csv", b"layer\n0\n1", "no token counts"),
    "a ragged csv": (".csv", b"1,2,3\n1,2", "line 2 has 2"),
    "a csv with a fraction": (".csv", b"1,2.5,3", "line 1, expert 1: 2.5"),
    "a csv with a negative": (".csv", b"a,b\n\n1,-2", "line 3, expert 1: -2"),
    "a csv with NaN": (".csv", b"nan,nan\n1,2", "NaN"),
    "a csv with a text": (".csv", b"1,2\n3,x", '"x"'),
    "a csv with an empty cell": (".csv", b"1,2\n3,", '""'),
    "a csv of semicolons": (".csv", b"1;2;3", "token counts"),
    "a csv of 1e999": (".csv", b"1,1e999", "Infinity"),
    "a csv of 10,000 digits": (".csv", b"1," + b"9" * 10_000, "Infinity"),
    "column numbers": (".csv", b"0,1,2,3\n5,5,5,5", "column numbers"),
    "a layer twice": (".csv", b"layer,a\n1,5\n1,5", "layer 1 is there twice"),
    "a layer that is none": (".csv", b"layer,a\nfirst,5", '"first"'),
    "a layer far off": (".csv", b"layer,a\n999999,5", "at most 1000"),
    "a csv in UTF-16": (".csv", "1,2".encode("utf-16"), "UTF-8"),
    "a csv of zero bytes": (".csv", b"\x00" * 100, "token counts"),
    "no JSON": (".json", b"", "line 1"),
    "JSON cut": (".json", b"[[1, 2], [3", "line 1, column"),
    "an empty list": (".json", b"[]", "token counts"),
    "a list of nothing": (".json", b"[[[]]]", "no token counts"),
    "JSON of a number": (".json", b"5", "list of layers"),
    "null": (".json", b"null", "list of layers"),
    "an object without counts": (".json", b'{"a": 1}', "no counts"),
    "a placement": (".json", b'{"physical_to_logical_map": [[0]]}', "a placement"),
    "two matrices": (".json", b'{"counts": [[1]], "logical_count": [[1]]}', "logical_count and counts"),
    "a spread": (".json", b'{"expert_load": {"spread_ppm": 5}}', "expert_load"),
    "a key twice": (".json", b'{"counts": [[1]], "counts": [[2]]}', "given twice"),
    "four levels": (".json", b"[[[[1]]]]", "list of layers"),
    "ten thousand levels": (".json", b"[" * 10_000 + b"]" * 10_000, "nested"),
    "ten thousand objects": (".json", b'{"counts":' * 10_000 + b"1" + b"}" * 10_000, "nested"),
    "JSON with NaN": (".json", b"[[1, NaN]]", "layer 0, expert 1: NaN"),
    "JSON with infinity": (".json", b"[[1, 1e999]]", "Infinity"),
    "JSON with a truth": (".json", b"[[1, true]]", "true"),
    "JSON with a text": (".json", b'[[1, "2"]]', '"2"'),
    "JSON with a deep list": (".json", b"[[1, " + b"[" * 900 + b"]" * 900 + b"]]", "a list"),
    "JSON with a negative": (".json", b'{"logical_count": [[[1, 2]], [[1, -2]]]}', "logical_count: pass 1, layer 0, expert 1: -2"),
    "JSON of 5,000 digits": (".json", b"[[1, " + b"9" * 5000 + b"]]", "digits"),
    "JSON of 400 digits": (".json", b"[[1, " + b"9" * 400 + b"]]", "999"),
    "ragged layers": (".json", b"[[1, 2], [3]]", "layer 1 has 1"),
    "ragged passes": (".json", b"[[[1], [2]], [[3]]]", "pass 1"),
    "a pass that is none": (".json", b"[[[1]], 5]", "pass 1"),
    "a row that is none": (".json", b"[[1, 2], 5]", "layer 1"),
    "a sum of passes": (".json", b"[[[9007199254740991]], [[9007199254740991]]]", "fewer passes"),
    "no lines": (".jsonl", b"\n\n", "no token counts"),
    "a line that is none": (".jsonl", b'{"layer": 0, "counts": [1]}\n{', "line 2"),
    "a line without a layer": (".jsonl", b'{"counts": [1]}', "line 1: null"),
    "a line with a true layer": (".jsonl", b'{"layer": true, "counts": [1]}', "true"),
    "a line with layer -1": (".jsonl", b'{"layer": -1, "counts": [1]}', "-1"),
    "a line with layer 1000": (".jsonl", b'{"layer": 1000, "counts": [1]}', "1000"),
    "a line without counts": (".jsonl", b'{"layer": 0}', "line 1: counts"),
    "a line that is a list": (".jsonl", b"[1, 2]", "line 1"),
    "a line with a layer twice": (".jsonl", b'{"layer": 0, "layer": 1, "counts": [1]}', "twice"),
    "ragged lines": (".jsonl", b'{"layer": 0, "counts": [1]}\n{"layer": 0, "counts": [1, 2]}', "line 2 has 2"),
    "a log of other things": (".log", b"hello\n", "no line"),
    "a log line cut": (".log", log(ROWS)[:-40], "cannot be read"),
    "a log with fewer counts": (".log", log(ROWS)[:-2], "1 counts of 2"),
    "a log without rank 0": (".log", log(ROWS).replace(b"in rank 0", b"in rank 2"), "rank 0 of 3"),
    "a log without a layer": (".log", log(ROWS).replace(b"in rank 0 for layer 1", b"in rank 0 for layer 0"), "layer 1"),
    "a log of a far rank": (".log", log(ROWS).replace(b"in rank 0", b"in rank 99999"), "rank 99999"),
    "a log with a text": (".log", log(ROWS).replace(b"\t6", b"\tx"), '"x"'),
    "a line of a million": (".csv", b"1," * 600_000, "line 1 has"),
    "a million lines": (".jsonl", b"\n" * 1_000_001, "lines"),
    "a million rows": (".json", b"[[" + b"[1]," * 10_000 + b"[1]]" + b",[]" * 100 + b"]", "101 passes"),
    "a checkpoint": (".pt", b"PK", "numpy.save"),
    "another": (".pth", b"PK", "numpy.save"),
    "a pickled file": (".pkl", b"\x80", "numpy.save"),
    "an archive": (".npz", b"PK", "numpy.save"),
    "one rank": (".safetensors", safetensors({"1_0": [1, 2]}), "folder"),
    "a format of nobody": (".xlsx", b"PK", "use one of"),
    "no suffix": ("", b"1,2", "use one of"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_holds_no_counts_is_refused_with_a_remedy(name: str, tmp_path: Path) -> None:
    suffix, content, said = WRONG[name]
    path = tmp_path / f"hostile{suffix}"
    path.write_bytes(content)
    refusal(path, said)


def test_a_pickled_array_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npy"
    np.save(path, np.array([[1, None]], dtype=object), allow_pickle=True)
    refusal(path, "pickle")


def test_a_promise_of_memory_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npy"
    path.write_bytes(promising("(1000000000, 1000, 1000)"))
    tracemalloc.start()
    refusal(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(("suffix", "bytes_"), [(".npy", 200_000_001), (".json", 32_000_001), (".jsonl", 200_000_001)])
def test_a_file_too_large_is_not_read(suffix: str, bytes_: int, tmp_path: Path) -> None:
    path = tmp_path / f"hostile{suffix}"
    path.touch()
    os.truncate(path, bytes_)  # a hole, no bytes on disk
    refusal(path, str(bytes_))


@pytest.mark.parametrize("kind", ["nothing", "a dangling link", "a link to itself", "a pipe", "a name too long", "a zero byte"])
def test_what_is_no_file_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ({"a name too long": "x" * 300, "a zero byte": "a\x00b"}.get(kind, "hostile") + ".npy")
    match kind:
        case "a dangling link":
            path.symlink_to(tmp_path / "nowhere")
        case "a link to itself":
            path.symlink_to(path)
        case "a pipe":
            os.mkfifo(path)
    with pytest.raises(InputError, match="check the path"):
        read_loads(path)


# TensorRT-LLM's folder


def entry(begin: object, end: object, count: object = 2, kind: object = "I64") -> dict[str, object]:
    return {"dtype": kind, "shape": [count], "data_offsets": [begin, end]}


TWO = {"1_0": np.array([1, 2]), "1_1": np.array([3, 4])}
HEADERS: dict[str, tuple[bytes, str]] = {
    "overlapping": (safetensors(TWO, **{"1_1": entry(8, 24)}), "overlap"),
    "with a gap": (safetensors(TWO, **{"1_1": entry(24, 40)}), "gap"),
    "the same twice": (safetensors(TWO, **{"1_1": entry(0, 16)}), "overlap"),
    "beyond the end": (safetensors(TWO, **{"1_1": entry(16, 16 + 8 * 10**6, 10**6)}), "end at byte"),
    "far beyond": (safetensors(TWO, **{"1_1": entry(16, 16 + 8 * 10**15, 10**15)}), "end at byte"),
    "short of the end": (safetensors(TWO) + b"x", "end at byte"),
    "negative": (safetensors(TWO, **{"1_0": entry(-16, 0)}), "data_offsets"),
    "backwards": (safetensors(TWO, **{"1_0": entry(16, 0)}), "fit"),
    "of another size": (safetensors(TWO, **{"1_0": entry(0, 16, 3)}), "fit"),
    "of fractions": (safetensors(TWO, **{"1_0": entry(0.0, 16.0)}), "data_offsets"),
    "of truths": (safetensors(TWO, **{"1_0": entry(False, 16)}), "data_offsets"),
    "of 2**70": (safetensors(TWO, **{"1_0": entry(0, 2**70)}), "data_offsets"),
    "of matrices": (safetensors({"1_0": np.ones((2, 2), int)}), "a vector"),
    "of floats": (safetensors({"1_0": np.ones(2)}), "F64"),
    "of no type": (safetensors(TWO, **{"1_0": entry(0, 16, kind=None)}), "null"),
    "of a list as type": (safetensors(TWO, **{"1_0": entry(0, 16, kind=["I64"])}), "a list"),
    "of no object": (safetensors(TWO, **{"1_0": 5}), "dtype"),
    "longer than the file": (struct.pack("<Q", 10**18) + b"{}", "header"),
    "nothing": (b"", "header"),
    "seven bytes": (b"\x01" * 7, "header"),
    "no JSON": (struct.pack("<Q", 2) + b"{x", "JSON"),
    "no UTF-8": (struct.pack("<Q", 2) + b"\xff\xff", "UTF-8"),
    "a list": (struct.pack("<Q", 2) + b"[]", "an object"),
    "a key twice": (struct.pack("<Q", 23) + b'{"1_0": {}, "1_0": {} } ', "twice"),
    "no vectors": (safetensors({}), "no token counts"),
    "a key that is none": (safetensors({"1_None": [1, 2]}), "1_None"),
    "another key": (safetensors({"layer": [1, 2]}), "layer"),
    "a layer far off": (safetensors({"1_5000": [1, 2]}), "at most 1000"),
    "a negative count": (safetensors({"1_7": [1, -2]}), "layer 7, expert 1: -2"),
    "two lengths of a layer": (safetensors({"1_0": [1, 2], "2_0": [1]}), "2_0 has 1"),
    "two lengths": (safetensors({"1_0": [1, 2], "1_1": [1]}), "layer 1 has 1"),
    "no counts": (safetensors({"1_0": np.ones(0, int)}), "no token counts"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_safetensors_file_is_distrusted(name: str, tmp_path: Path) -> None:
    content, said = HEADERS[name]
    (tmp_path / "rank0.safetensors").write_bytes(content)
    refusal(tmp_path, said)


def test_a_folder_must_hold_every_rank_of_one_model(tmp_path: Path) -> None:
    refusal(tmp_path, "rank0.safetensors")
    statistics(tmp_path, ROWS)
    (tmp_path / "rank3.safetensors").write_bytes(safetensors({"1_0": [1, 1, 1, 1]}))
    refusal(tmp_path, "rank2.safetensors is missing")
    (tmp_path / "rank3.safetensors").rename(tmp_path / "rank2.safetensors")
    assert read_loads(tmp_path).counts[0] == (1, 1, 1, 1)
    (tmp_path / "meta_info.json").write_text('{"num_experts": 5}')
    refusal(tmp_path, "num_experts is 5")
    (tmp_path / "meta_info.json").write_text("null")
    assert read_loads(tmp_path).counts[0] == (1, 1, 1, 1)
    (tmp_path / "rank2.safetensors").unlink()
    (tmp_path / "rank2.safetensors").mkdir()
    refusal(tmp_path, "rank2.safetensors")


# Several workloads


def write(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_workloads_are_told_apart(tmp_path: Path) -> None:
    decode, prefill = write(tmp_path / "decode.json", ROWS), write(tmp_path / "prefill.json", ROWS)
    assert [w.name for w in read_workloads([decode, prefill])] == ["decode", "prefill"]
    first, second = write(tmp_path / "a" / "loads.json", ROWS), write(tmp_path / "b" / "loads.json", ROWS)
    assert [w.name for w in read_workloads([first, second])] == ["a/loads", "b/loads"]
    assert [w.name for w in read_workloads([first, first])] == ["a/loads", "a/loads (2)"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS[:2], "2 layers of 4 experts"),
        ([row[:3] for row in ROWS], "3 layers of 3 experts"),
        ([[1, 0, 0, 0], *ROWS[1:]], "layer 0 has no tokens"),
        ([*ROWS[:2], [0, 0, 0, 0]], "layer 2 has no tokens"),
    ],
)
def test_workloads_of_two_models_are_refused(rows: Rows, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_workloads([write(tmp_path / "a.json", ROWS), write(tmp_path / "b.json", rows)])
    checked(str(error.value), "a.json", "b.json", said)


def test_no_workload_is_refused() -> None:
    with pytest.raises(InputError, match="give"):
        read_workloads([])


def test_a_name_can_be_printed(tmp_path: Path) -> None:
    assert read_loads(write(tmp_path / "a\nforged: \x1b[2J.json", ROWS)).name == "a_forged: _[2J"
