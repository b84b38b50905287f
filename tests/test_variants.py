"""What varies in a batch: options, ranges, variants files, and the data of each variant."""

import copy
import json
import pickle
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.instance import Instance
from models.units import _UNITS
from optimizer.batching.axes import Axis, number_of, parse_axis, written
from optimizer.batching.scenarios import NAME
from optimizer.batching.variants import MOST_FIELDS, MOST_VARIANTS, Setting, Variants, read_variants
from optimizer.catalogued import instance_schema
from optimizer.reading import read_with_overrides, validate

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
LLAMA = ROOT / "instances" / "llama70b_8gpu.json"
REFERENCE = ROOT / "instances" / "ep64_tp2_128gpu.json"
REMEDY = re.compile(
    r"\b(write|add|remove|keep|correct|check|shorten|save|use|give|list|put|see|needs|must|at most|did you mean|there is)\b"
)


def values(text: str) -> list[str]:
    """The values of an option with one field."""
    axis = parse_axis(text)
    assert len(axis.paths) == 1
    return [value for (value,) in axis.rows]


def refused(call: Any, *args: Any, naming: str = "") -> str:
    with pytest.raises(InputError) as caught:
        call(*args)
    said = str(caught.value)
    assert naming in said, said
    assert REMEDY.search(said), f"no remedy: {said}"
    assert "\n" not in said
    return said


def variants(*vary: str, file: Path | None = None, base: Json | None = None) -> Variants:
    return read_variants(read_with_overrides(LLAMA, []) if base is None else base, vary, file, LLAMA)


def a_file(folder: Path, content: Any, name: str = "variants.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def rows_of(found: Variants) -> list[tuple[str, ...]]:
    return [found.texts(n) for n in range(len(found))]


# Options


@pytest.mark.parametrize(
    ("text", "paths", "rows"),
    [
        ("workload.sequences=64,128", ["workload.sequences"], [["64"], ["128"]]),
        ("  a.b = 1 ,2,  3 ", ["a.b"], [["1"], ["2"], ["3"]]),
        ("space.tp=[1,2],[1,2,4]", ["space.tp"], [["[1,2]"], ["[1,2,4]"]]),
        (
            'objective={"name":"cost","limits":{"ttft_ns":5}},latency',
            ["objective"],
            [['{"name":"cost","limits":{"ttft_ns":5}}'], ["latency"]],
        ),
        ('name="a,b;c","]"', ["name"], [['"a,b;c"'], ['"]"']]),
        (r'name="say \"a,b\"",x', ["name"], [[r'"say \"a,b\""'], ["x"]]),
        ("x=a=b,c", ["x"], [["a=b"], ["c"]]),
        ("n=10..20:+5,7,64..256:*2", ["n"], [["10"], ["15"], ["20"], ["7"], ["64"], ["128"], ["256"]]),
        ("a.b=2,4,8; c=256,512,1024", ["a.b", "c"], [["2", "256"], ["4", "512"], ["8", "1024"]]),
        ("a=1..3:+1;b=[1,2],[2;3],x;c=@p.json,@q.json,null", ["a", "b", "c"], None),
        ("workload=@chat.json,@../my files/v1..2.json", ["workload"], [["@chat.json"], ["@../my files/v1..2.json"]]),
        ("a=1,1,2;b=1,2,2", ["a", "b"], [["1", "1"], ["1", "2"], ["2", "2"]]),
    ],
)
def test_an_option_is_read_as_written(text: str, paths: list[str], rows: list[list[str]] | None) -> None:
    axis = parse_axis(text)
    assert axis.paths == tuple(paths)
    if rows is not None:
        assert axis == Axis(tuple(paths), tuple(map(tuple, rows)))


def test_fields_side_by_side_take_lists_and_files() -> None:
    assert parse_axis("a=1..3:+1;b=[1,2],[2;3],x;c=@p.json,@q.json,null").rows == (
        ("1", "[1,2]", "@p.json"),
        ("2", "[2;3]", "@q.json"),
        ("3", "x", "null"),
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("64..1024:*2", "64 128 256 512 1024"),
        ("64..1000:*2", "64 128 256 512"),
        ("1024..64:/2", "1024 512 256 128 64"),
        ("1024..100:/2", "1024 512 256 128"),
        ("10..100:+30", "10 40 70 100"),
        ("10..99:+30", "10 40 70"),
        ("100..10:-30", "100 70 40 10"),
        ("100..11:-30", "100 70 40"),
        ("0.1..0.5:+0.1", "0.1 0.2 0.3 0.4 0.5"),
        ("0.10..0.30:+0.10", "0.1 0.2 0.3"),
        ("1..0:-0.25", "1 0.75 0.5 0.25 0"),
        ("-2..2:+2", "-2 0 2"),
        ("2..-2:-2", "2 0 -2"),
        ("1..10:*1.5", "1 1.5 2.25 3.375 5.0625 7.59375"),
        ("7..7:+1", "7"),
        ("7..7:-1", "7"),
        ("7..7:*2", "7"),
        ("7..7:/2", "7"),
        ("1..2:+5", "1"),
        ("1000000000000000000..3000000000000000000:+1000000000000000000", "1000000000000000000 2000000000000000000 3000000000000000000"),
        ("0.000000000001..0.000000000003:+0.000000000001", "0.000000000001 0.000000000002 0.000000000003"),
        (" 1 .. 3 : + 1 ", "1 2 3"),
    ],
)
def test_a_range_holds_its_end_when_that_is_hit_exactly(text: str, expanded: str) -> None:
    assert values(f"n={text}") == expanded.split()


@pytest.mark.parametrize(
    "text",
    [
        "10..20 GB/s:+5",
        "10 GB/s..20:+5",
        "10..20:+5 GB/s",
        "10 GB/s..20 GB/s:+5 GB/s",
        "10GB/s..20GB/s:+5GB/s",
        "10GB/s .. 20 : + 5",
    ],
)
def test_a_unit_behind_any_number_of_a_range_holds_for_all(text: str) -> None:
    assert values(f"x={text}") == ["10 GB/s", "15 GB/s", "20 GB/s"]


def test_units_of_every_kind_are_units_of_ranges() -> None:
    for units in _UNITS.values():
        for unit in units:
            assert values(f"x=1..4 {unit}:*2") == [f"1 {unit}", f"2 {unit}", f"4 {unit}"]
            assert values(f"x=4 {unit}..1:/2") == [f"4 {unit}", f"2 {unit}", f"1 {unit}"]
    assert values("x=1 \u03bcs..2 \u00b5s:+1") == ["1 \u00b5s", "2 \u00b5s"]


@pytest.mark.parametrize("text", ["10..abc:+5", "@1..5:+1", '"1..5"', "a..b", "[1..2]", "1.5", "a1.b2", "..", "10..", "tp-cp..ep"])
def test_text_that_is_no_range_stays_a_value(text: str) -> None:
    assert values(f"x={text}") == [text]


numbers = st.decimals(min_value="0.001", max_value="1000", places=3, allow_nan=False)


def naive(first: Fraction, last: Fraction, kind: str, step: Fraction) -> Iterator[Fraction]:
    value, rising = first, kind in "+*"
    while value <= last if rising else value >= last:
        yield value
        value = {"+": value + step, "-": value - step, "*": value * step, "/": value / step}[kind]


@given(numbers, numbers, st.sampled_from("+-*/"), numbers)
def test_a_range_is_what_a_loop_over_fractions_gives(first: Decimal, last: Decimal, kind: str, step: Decimal) -> None:
    low, high = sorted((first, last))
    start, end = (low, high) if kind in "+*" else (high, low)
    try:
        got = values(f"x={start}..{end} ms:{kind}{step}")
    except InputError as error:
        said = str(error)
        if "values; at most" in said:
            assert kind in "+-"
            assert (high - low) / step > 99_998
        elif "factor that is not above 1" in said:
            assert step <= 1
        else:
            assert kind in "*/"
            exact = list(naive(Fraction(start), Fraction(end), kind, Fraction(step)))
            assert any((v * 10**30).denominator > 1 for v in [*exact, exact[-1] / Fraction(step)]), said
        return
    if len(got) > 2000:
        got = got[:2000]
        end = start + 1999 * step if kind == "+" else start - 1999 * step
    expected = list(naive(Fraction(start), Fraction(end), kind, Fraction(step)))
    assert [Fraction(v.removesuffix(" ms")) for v in got] == expected
    assert all(re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]*[1-9])? ms", v) for v in got), "written plainly"


PATH_HINT = "write PATH=V1,V2, e.g. workload.sequences=64,128"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", PATH_HINT),
        ("nothing", PATH_HINT),
        ("a=", PATH_HINT),
        ("=1", PATH_HINT),
        ("a=1,,2", PATH_HINT),
        ("a=,1", PATH_HINT),
        ("a=1,", PATH_HINT),
        ("a=1;", PATH_HINT),
        ("a=1;b", PATH_HINT),
        (";", PATH_HINT),
        ("a=1,2,1", "a value is given twice; list each once"),
        ("a=64..256:*2,128", "a value is given twice; list each once"),
        ("a=1,1;b=2,2", "the same values are given twice together; list each once"),
        ("a=1,2;a=3,4", "a field is varied twice; give all its values at once"),
        ("a.b=1,2,3;c=4,5", "a.b has 3 values and c has 2; give each as many as the other"),
        ("a=1..5", "1..5 has no step; write e.g. 1..5:+10 or 1..5:*2"),
        ("a=1..5 GB", "has no step"),
        ("a=1..5:", "is no range"),
        ("a=1..5:2", "is no range"),
        ("a=1..5:+-1", "is no range"),
        ("a=1..5:+x", "is no range"),
        ("a=1...5:+1", "is no range"),
        ("a=1..5:+1:+1", "is no range"),
        ("a=1e3..5e3:+1", "is no range"),
        ("a=1..5..7:+1", "is no range"),
        ("a=x1..5", "is no range"),
        (f"a={'1' * 31}..5:+1", "is no range"),
        ("a=10 GB/s..20 MB/s:+5", "mixes GB/s and MB/s; use one unit"),
        ("a=10 GB/s..20:+5 MB/s", "mixes GB/s and MB/s; use one unit"),
        ("a=1..9 GB:*2 GB", "has a factor with a unit; write it as a number"),
        ("a=1..5:+0", "step of 0, which does not move"),
        ("a=1..5:-1", "steps away from its end"),
        ("a=5..1:+1", "steps away from its end"),
        ("a=1..5:*1", "factor that is not above 1"),
        ("a=1..5:*0.5", "factor that is not above 1"),
        ("a=1..5:*0", "factor that is not above 1"),
        ("a=5..1:/1", "factor that is not above 1"),
        ("a=5..1:/0", "factor that is not above 1"),
        ("a=5..1:*2", "moves away from its end"),
        ("a=1..5:/2", "moves away from its end"),
        ("a=0..5:*2", "needs numbers above 0"),
        ("a=5..0:/2", "needs numbers above 0"),
        ("a=-4..-1:*2", "needs numbers above 0"),
        ("a=10..1:/3", "no decimal says exactly"),
        ("a=1..1000000:*1.0001", "more than 30 decimals"),
        (f"a=1..0.{'0' * 29}1:/1.{'0' * 29}1", "; list the values, or give another step"),
        ("a=1..100001:+1", "has 100001 values; at most 100000 are solved in one batch, give a larger step"),
        (f"a=1..{'9' * 30}:+0.{'0' * 29}1", "at most 100000"),
        ("a=1..60000:+1,60001..120000:+1", "120000 values; at most 100000 of one field"),
        ("a=[1,2", "] is missing; add it"),
        ("a={1,2", "} is missing; add it"),
        ("a=1],2", "] closes nothing; correct it"),
        ("a=[1}", "} closes nothing; correct it"),
        ('a="x,y', "a double quote is not closed; add the other one"),
        ("a=x\x1b[2Jy]", "cannot be printed"),
        ("a=x\ny", "cannot be printed"),
        ("a\nb=x", "cannot be printed"),
        ("a=\udcff", "cannot be printed"),
    ],
)
def test_an_option_that_cannot_be_read_is_quoted_with_the_remedy(text: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_axis(text)
    said = str(caught.value)
    assert said.startswith(f'--vary "{text[:80]}": ')
    assert why in said, said
    assert REMEDY.search(said.removeprefix(f'--vary "{text[:80]}": ')), said


def test_100000_values_of_a_range_are_taken() -> None:
    got = values("a=1..100000:+1")
    assert (len(got), got[0], got[-1]) == (100_000, "1", "100000")


# Values as numbers


@pytest.mark.parametrize(
    ("path", "text", "number"),
    [
        ("cluster.nodes", "16", 16),
        ("cluster.nodes", "-3", -3),
        ("cluster.nodes", "16 GB", None),
        ("cluster.nodes", "1.5", None),
        ("cluster.nodes", "true", None),
        ("cluster.nodes", "null", None),
        ("space.tp", "[1,2]", None),
        ("architecture", "DeepSeek-V3", None),
        ("workload", "@chat.json", None),
        ("cluster.scale_out.bandwidth_bytes_per_s", "10 GB/s", 10**10),
        ("cluster.scale_out.bandwidth_bytes_per_s", "80 Gbit/s", 10**10),
        ("cluster.scale_out.bandwidth_bytes_per_s", '"10 GB/s"', 10**10),
        ("cluster.scale_out.bandwidth_bytes_per_s", "12345", 12345),
        ("cluster.scale_out.bandwidth_bytes_per_s", "10 GB", None),
        ("cluster.scale_out.bandwidth_bytes_per_s", "0.5 B/s", None),
        ("cluster.scale_out.cap_bytes_per_pass", "1 GiB", 2**30),
        ("cluster.accelerator.memory_bytes", "81559 MiB", 81559 * 2**20),
        ("cluster.accelerator.peak_flop_per_s.bf16", "989 TFLOP/s", 989 * 10**12),
        ("cluster.pools.0.accelerator.kernel_launch_ns", "3.8 us", 3800),
        ("objective.limits.ttft_ns", "600ms", 600_000_000),
        ("objective.limits.min_tokens_per_s", "100 tokens/s", 100),
        ("runtime.overlap_ppm", "12.5 %", 125_000),
        ("runtime.activation_bytes_per_token", "96 KiB", 98_304),
        ("expert_load.spread_ppm", "30 %", 300_000),
        ("cluster.price_uusd_per_gpu_hour", "2.5 $/h", 2_500_000),
        ("cluster.nodes", "9" * 31, None),
        ("cluster.nodes", "NaN", None),
        ("cluster.nodes", "\udcff", None),
        ("cluster.nodes", "", None),
    ],
)
def test_a_value_is_an_integer_of_its_fields_own_unit(path: str, text: str, number: int | None) -> None:
    assert number_of(path, text) == number


def quantities(part: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every field of a JSON schema that is a quantity, with its dimension as the schema says it."""
    if isinstance(part, dict):
        choices = part.get("anyOf", ())
        whole = next((c["description"] for c in choices if c.get("type") == "integer" and c.get("description") in _UNITS), None)
        if whole is not None:
            yield path, whole
        for name, child in part.items():
            yield from quantities(child, f"{path}.{name}" if name not in ("properties", "anyOf", "additionalProperties", "items") else path)
    elif isinstance(part, list):
        for child in part:
            yield from quantities(child, path)


def test_every_quantity_of_the_schema_is_read_in_its_dimension_and_no_other_field_is() -> None:
    found = list(quantities(instance_schema(), ""))
    assert {d for _, d in found} == set(_UNITS)
    for path, dimension in found:
        name = path + ".bf16" if path.endswith("peak_flop_per_s") else path
        unit = list(_UNITS[dimension])[-1]
        assert number_of(name, f"8 {unit}") == 8 * _UNITS[dimension][unit], path
    for plain in ("sequences", "nodes", "gpus_per_node", "hidden_size", "heads", "tokens_per_sequence", "context_tokens", "ep"):
        assert all(number_of(plain, f"8 {unit}") is None for units in _UNITS.values() for unit in units)


FIELDS = {
    "bytes": "cluster.accelerator.memory_bytes",
    "bytes/s": "cluster.scale_out.bandwidth_bytes_per_s",
    "FLOP/s": "cluster.accelerator.peak_flop_per_s.fp8",
    "ns": "objective.limits.ttft_ns",
    "ppm": "runtime.overlap_ppm",
    "micro-USD/h": "cluster.price_uusd_per_gpu_hour",
    "tokens/s": "objective.limits.min_tokens_per_s",
}


@given(st.data(), st.integers(min_value=0, max_value=10**18))
def test_a_number_is_written_so_that_it_is_read_back(data: st.DataObject, number: int) -> None:
    dimension = data.draw(st.sampled_from(sorted(FIELDS)))
    unit = data.draw(st.sampled_from([*_UNITS[dimension], ""]))
    like = data.draw(st.sampled_from([f"16 {unit}", f"16{unit}", f'"16 {unit}"', f" 1_6.0  {unit} "])) if unit else "16"
    text = written(FIELDS[dimension], number, like)
    assert number_of(FIELDS[dimension], text) == number
    assert len(text) < 45
    exact = unit and (Fraction(number) / _UNITS[dimension][unit] * 10**12).denominator == 1
    assert not exact or text.endswith(f" {unit}")
    assert text.isdigit() or unit


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_a_plain_number_is_written_plainly(number: int) -> None:
    for path, like in (("cluster.nodes", "16"), ("cluster.nodes", "16 GB"), ("runtime.overlap_ppm", "0"), ("cluster.nodes", "lots")):
        assert written(path, number, like) == str(number)
        assert number_of(path, str(number)) == number


@pytest.mark.parametrize(
    ("path", "number", "like", "text"),
    [
        ("cluster.scale_out.bandwidth_bytes_per_s", 21_079_800_001, "10 GB/s", "21.079800001 GB/s"),
        ("cluster.scale_out.bandwidth_bytes_per_s", 20 * 10**9, "10GB/s", "20 GB/s"),
        ("cluster.scale_out.bandwidth_bytes_per_s", 20 * 10**9, "10", "20000000000"),
        ("cluster.scale_out.bandwidth_bytes_per_s", 1, "8 Gbit/s", "0.000000008 Gbit/s"),
        ("cluster.accelerator.memory_bytes", 96 * 2**20, "64 MiB", "96 MiB"),
        ("cluster.accelerator.memory_bytes", 96 * 2**20 + 1, "64 MiB", "100663297 B"),
        ("cluster.accelerator.memory_bytes", 0, "64 MiB", "0 MiB"),
        ("cluster.price_uusd_per_gpu_hour", 2_500_001, "2 $/h", "2.500001 $/h"),
        ("objective.limits.ttft_ns", 1, "10 s", "0.000000001 s"),
        ("objective.limits.ttft_ns", -1, "10 s", "-1"),
    ],
)
def test_a_number_between_two_values_takes_their_unit_where_that_is_short(path: str, number: int, like: str, text: str) -> None:
    assert written(path, number, like) == text


# Variants


def test_the_last_axis_varies_fastest() -> None:
    found = variants("cluster.nodes=1,2", "workload.sequences=8,16,32", "space.name=classic,folded")
    assert found.columns == ("cluster.nodes", "workload.sequences", "space.name")
    assert len(found) == 12
    assert rows_of(found) == [*product(("1", "2"), ("8", "16", "32"), ("classic", "folded"))]
    assert found.settings(4) == (
        Setting("cluster.nodes", 1, "1"),
        Setting("workload.sequences", 32, "32"),
        Setting("space.name", "classic", "classic"),
    )
    assert found.scenario(4) is None
    assert found.axes[1] == Axis(("workload.sequences",), (("8",), ("16",), ("32",)))
    for number in (-1, 12):
        for ask in (found.settings, found.data, found.texts):
            with pytest.raises(IndexError):
                ask(number)


def test_the_lines_of_an_axis_part_the_variants_and_differ_along_it_only(tmp_path: Path) -> None:
    file = a_file(tmp_path, [{"name": "a"}, {"name": "b"}])
    found = variants("cluster.nodes=1,2", "workload.sequences=8,16,32", "space.name=classic,folded", file=file)
    for axis, shape in enumerate(found.axes):
        lines = list(found.lines(axis))
        assert sorted(number for line in lines for number in line) == list(range(len(found)))
        for line in lines:
            texts = [found.texts(number) for number in line]
            assert [t[1 + axis] for t in texts] == [value for (value,) in shape.rows]
            assert len({t[: 1 + axis] + t[2 + axis :] for t in texts}) == 1


def test_fields_that_vary_together_are_one_axis() -> None:
    found = variants("cluster.nodes=2,4; workload.sequences=256,512", "space.name=classic,folded")
    assert rows_of(found) == [("2", "256", "classic"), ("2", "256", "folded"), ("4", "512", "classic"), ("4", "512", "folded")]


def test_the_data_of_a_variant_is_a_copy_with_its_settings() -> None:
    base = read_with_overrides(LLAMA, [])
    before = copy.deepcopy(base)
    found = variants("cluster.scale_out.bandwidth_bytes_per_s=10 GB/s,20 GB/s", "space.tp=[1,2],[4]", base=base)
    data = found.data(2)
    link = data["cluster"]["pools"][0]["scale_out"]
    assert (link["bandwidth_bytes_per_s"], data["space"]["tp"]) == ("20 GB/s", [1, 2])
    assert link["sources"]["bandwidth_bytes_per_s"].startswith("assumed: ")
    data["space"]["tp"].append(7)
    assert base == before
    assert found.data(2)["space"]["tp"] == [1, 2]
    assert found.data(0)["cluster"]["pools"][0]["scale_out"]["bandwidth_bytes_per_s"] == "10 GB/s"


def test_100000_variants_are_made_on_demand_and_one_more_is_refused() -> None:
    found = variants("cluster.nodes=1..250:+1", "workload.sequences=1..400:+1")
    assert len(found) == MOST_VARIANTS
    assert found.texts(MOST_VARIANTS - 1) == ("250", "400")
    assert found.data(401)["workload"]["sequences"] == 2
    said = refused(variants, "cluster.nodes=1..250:+1", "workload.sequences=1..401:+1")
    assert said == "--vary: 100250 variants; at most 100000 are solved in one batch, give fewer values"


def test_variants_can_be_sent_to_another_process() -> None:
    found = variants("cluster.nodes=1,2", "space.tp=[1,2],[4]")
    copied = pickle.loads(pickle.dumps(found))
    assert (rows_of(copied), copied.data(3), copied.identity()) == (rows_of(found), found.data(3), found.identity())


def test_variants_written_as_json_are_read_back_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_file(tmp_path, {"kind": "decode", "sequences": 3}, "chat.json")
    rows = {"today": {"workload": "@chat.json"}, "next": {"objective": {"name": "latency"}, "name": "5"}}
    file = a_file(tmp_path, rows)
    found = variants("space=@chat.json,@chat.json ; cluster.nodes=1,2", "runtime.overlap_ppm=0,5 %", file=file)
    text = json.dumps(found.to_json())
    assert text.count('"sequences": 3') == 2, "a file's content is written once for each place that reads it"
    for path in (file, tmp_path / "chat.json"):
        path.unlink()
    again = Variants.from_json(json.loads(json.dumps(json.loads(text), sort_keys=True)))
    assert (again.axes, again.columns, again.identity(), again.to_json()) == (found.axes, found.columns, found.identity(), found.to_json())
    for number in range(len(found)):
        assert again.scenario(number) == found.scenario(number)
        assert again.settings(number) == found.settings(number)
        assert again.data(number) == found.data(number)


def test_what_is_no_variants_is_not_read_back() -> None:
    whole = variants("cluster.nodes=1,2").to_json()
    for part in whole:
        with pytest.raises(ValueError, match="no variants"):
            Variants.from_json({key: value for key, value in whole.items() if key != part} if part != "files" else {})
    for odd in (
        {"axes": [[]]},
        {"axes": 5},
        {"axes": [[[[5, 5, 5]]]]},
        {"axes": [[[["a", 7, "@x"]]]]},
        {"options": 5},
        {"scenarios": [[1]]},
    ):
        with pytest.raises(ValueError, match=r"no variants|unpack"):
            Variants.from_json(whole | odd)


def test_the_values_of_each_field_and_data_with_some_settings(tmp_path: Path) -> None:
    file = a_file(tmp_path, [{"cluster.nodes": 4}, {"cluster.nodes": 4, "workload.sequences": 7}])
    found = variants("space.name=classic,folded", file=file)
    assert {path: [s.text for s in taken] for path, taken in found.values().items()} == {
        "cluster.nodes": ["4"],
        "workload.sequences": ["7"],
        "space.name": ["classic", "folded"],
    }
    assert found.with_settings(found.settings(3)) == found.data(3)
    assert found.with_settings(()) == read_with_overrides(LLAMA, [])


@pytest.mark.parametrize(
    ("vary", "why"),
    [
        ([], "give --vary PATH=V1,V2 or --variants FILE"),
        (
            ["workload.sequences=1", "workload.sequences=2"],
            "--vary workload.sequences: a field is varied twice; give all its values at once",
        ),
        (["cluster.nodes=1", "cluster.pools.0.nodes=2"], "a field is varied twice; give all its values at once"),
        (["cluster.pools.nodes=1;cluster.nodes=2"], "a field is varied twice; give all its values at once"),
        (["bogus=1"], "--vary bogus: no such field 'bogus'; see"),
        (["workload.sequnces=1"], 'did you mean "sequences"'),
        (["cluster.nodes=1", "cluster.pools.4.nodes=1"], "--vary cluster.pools.4.nodes: no '4' to step into"),
        (["workload=@"], "--vary workload: @ alone names no file; write @FILE"),
        (["workload=@nowhere.json"], "--vary workload: nowhere.json: no such file; check the path"),
        (["workload.sequences=1,NaN"], "--vary workload.sequences: NaN is not a number"),
        ([f"workload.sequences={'[' * 41}{']' * 41}"], "--vary workload.sequences: nested too deeply; at most 40 levels"),
    ],
)
def test_variants_that_cannot_be_are_refused(vary: list[str], why: str) -> None:
    refused(variants, *vary, naming=why)


def test_more_fields_than_a_table_is_read_with_are_refused() -> None:
    many = ";".join(f"workload.sequences{n}=1" for n in range(MOST_FIELDS + 1))
    refused(variants, many, naming=f"{MOST_FIELDS + 1} fields vary; at most {MOST_FIELDS}")


@pytest.mark.parametrize("base", [5, None, [1], "x"])
def test_a_base_that_is_no_object_is_refused(base: Any) -> None:
    refused(read_variants, base, ["x=1"], None, LLAMA, naming=f"{LLAMA}: no instance; write")


# Whole records


def test_a_record_is_set_before_its_fields_whatever_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_file(tmp_path, {"kind": "decode", "sequences": 3, "context_tokens": 9, "sources": {"*": "assumed: x"}}, "chat.json")
    a_file(tmp_path, "kind: prefill\nsequences: 4\ntokens_per_sequence: 9\nsources: {'*': 'assumed: x'}\n", "bulk.yaml")
    found = variants("workload.sequences=7,8", "workload=@chat.json,@bulk.yaml")
    assert rows_of(found)[1] == ("7", "@bulk.yaml")
    workloads = [found.data(n)["workload"] for n in range(4)]
    assert [(w["kind"], w["sequences"]) for w in workloads] == [("decode", 7), ("prefill", 7), ("decode", 8), ("prefill", 8)]
    assert found.settings(0)[1].value["sequences"] == 3, "the file's value is not changed by another setting"


def test_a_file_named_many_times_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    a_file(tmp_path, [1, 2], "tp.json")
    found = variants("space.tp=@tp.json,[4]; space.ep=@tp.json,[1]")
    assert found.settings(0)[0].value is found.settings(0)[1].value


def test_short_forms_are_spelled_out_before_their_fields_are_set() -> None:
    base = read_with_overrides(ROOT / "instances" / "deepseek_v3_128h200.json", [])
    found = variants(
        "runtime.overlap_ppm=0,5", "runtime=vllm,sglang", 'cluster={"machine":"H200","nodes":1}', "cluster.nodes=2,4", base=base
    )
    data = found.data(7)
    assert data["runtime"] == {"engine": "sglang", "overlap_ppm": 5}
    assert data["cluster"] == {"pools": [{"machine": "H200", "nodes": 4}]}
    validate(data, Instance, "here")


def test_a_machine_is_set_before_what_is_written_over_it() -> None:
    found = variants("cluster.gpus_per_node=4,8", "cluster.accelerator=H100,B200", "cluster.machine=H200")
    pool = validate(found.data(1), Instance, "here").cluster.pool
    assert (pool.gpus_per_node, pool.accelerator.name) == (4, "B200-SXM-180GB")
    assert pool.scale_up.bandwidth_bytes_per_s == 450 * 10**9


def test_a_setting_that_leaves_no_place_for_another_is_refused_for_its_variant() -> None:
    found = variants("cluster.accelerator=H100,H200", "cluster.accelerator.memory_bytes=80 GB,100 GB")
    refused(found.data, 0, naming="--vary cluster.accelerator.memory_bytes: no 'accelerator' to step into; there is")


# Variants files

TABLE = 'scenario,cluster.nodes,cluster.scale_out.bandwidth_bytes_per_s,space.tp\ntoday,1,,\nnext, 2 ,25 GB/s,"[1,2]"\n'
ROWS = [
    {"scenario": "today", "cluster.nodes": 1},
    {"cluster.nodes": 2, "scenario": "next", "cluster.scale_out.bandwidth_bytes_per_s": "25 GB/s", "space.tp": [1, 2]},
]
YAML = "today:\n  cluster.nodes: 1\nnext:\n  cluster.nodes: 2\n  cluster.scale_out.bandwidth_bytes_per_s: 25 GB/s\n  space.tp: [1, 2]\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.csv", TABLE),
        ("v.CSV", "\ufeff" + TABLE.replace("\n", "\r\n")),
        ("v.csv", TABLE.replace("\n", "\n\n  \n")),
        ("v.json", ROWS),
        ("v.json", {row["scenario"]: {k: v for k, v in row.items() if k != NAME} for row in ROWS}),
        ("v.yaml", YAML),
        ("v.yml", "- scenario: today\n  cluster.nodes: 1\n- " + YAML.partition("next:\n  ")[2] + "  scenario: next\n"),
    ],
)
def test_a_variants_file_says_the_same_in_every_format(name: str, content: Any, tmp_path: Path) -> None:
    found = variants("workload.sequences=5,6", file=a_file(tmp_path, content, name))
    assert found.columns == ("cluster.nodes", "cluster.scale_out.bandwidth_bytes_per_s", "space.tp", "workload.sequences")
    assert [found.scenario(n) for n in range(len(found))] == ["today", "today", "next", "next"]
    assert found.has_scenarios
    assert rows_of(found)[:2] == [("1", "", "", "5"), ("1", "", "", "6")]
    assert rows_of(found)[3] == ("2", "25 GB/s", "[1,2]", "6")
    assert [s.value for s in found.settings(3)] == [2, "25 GB/s", [1, 2], 6]
    assert [s.path for s in found.settings(0)] == ["cluster.nodes", "workload.sequences"], "what is left out is not set"
    base, data = read_with_overrides(LLAMA, []), found.data(0)
    assert data["cluster"]["pools"][0]["scale_out"] == base["cluster"]["pools"][0]["scale_out"]
    assert found.data(2)["cluster"]["pools"][0]["scale_out"]["bandwidth_bytes_per_s"] == "25 GB/s"
    other = a_file(tmp_path, ROWS, "other.json")
    assert found.identity() == variants("workload.sequences=5,6", file=other).identity()


def test_a_file_alone_gives_the_variants_and_rows_need_no_names(tmp_path: Path) -> None:
    found = variants(file=a_file(tmp_path, [{"workload": {"kind": "decode"}}, {"space.name": "classic", "cluster.nodes": None}]))
    assert (found.axes, found.columns) == ((), ("workload", "space.name", "cluster.nodes"))
    assert rows_of(found) == [('{"kind":"decode"}', "", ""), ("", "classic", "null")]
    assert [found.scenario(n) for n in range(2)] == [None, None]
    assert not found.has_scenarios
    assert found.data(0)["workload"] == {"kind": "decode"}


def test_a_named_row_may_leave_everything_as_it_is(tmp_path: Path) -> None:
    found = variants(file=a_file(tmp_path, {"today": {}, "more": {"cluster.nodes": 16, "workload.sequences": 9}}))
    assert found.data(0) == read_with_overrides(LLAMA, [])
    assert rows_of(found)[0] == ("", "")


def test_values_at_files_lie_beside_the_variants_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "deep"
    folder.mkdir()
    a_file(folder, {"kind": "decode"}, "chat.json")
    for file in (a_file(folder, "workload\n@chat.json\n", "v.csv"), a_file(folder, [{"workload": "@chat.json"}])):
        found = variants(file=file)
        assert found.settings(0) == (Setting("workload", {"kind": "decode"}, "@chat.json"),)
    a_file(tmp_path, {"kind": "decode"}, "outside.json")
    (folder / "link.json").symlink_to(tmp_path / "outside.json")
    for name in ("../outside.json", str(tmp_path / "outside.json"), "link.json"):
        with pytest.raises(InputError, match=r"variants.json: row 1: workload: .*lies outside the folder of that file; put it there"):
            variants(file=a_file(folder, [{"workload": f"@{name}"}]))


def test_the_identity_tells_contents_apart_but_not_names(tmp_path: Path) -> None:
    a_file(tmp_path, {"kind": "decode"}, "a.json")
    a_file(tmp_path, {"kind": "decode"}, "b.json")
    a_file(tmp_path, {"kind": "prefill"}, "c.json")
    one, two, three = (variants(file=a_file(tmp_path, [{"workload": f"@{n}.json"}])).identity() for n in "abc")
    assert one == two != three
    assert json.loads(json.dumps(one)) == one
    axes = [variants(text).identity() for text in ("cluster.nodes=1,2", "cluster.nodes=2,1", "cluster.nodes=1..2:+1", "cluster.nodes=1")]
    assert axes[0] == axes[2]
    assert axes[0] != axes[1] != axes[3]
    together = variants("cluster.nodes=1,2;workload.sequences=1,2").identity()
    assert together != variants("cluster.nodes=1,2", "workload.sequences=1,2").identity()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("v.csv", "", "holds no values; write"),
        ("v.csv", "\n\n", "holds no values; write"),
        ("v.csv", "cluster.nodes\n", "holds no values; write"),
        ("v.csv", "scenario\na\nb\n", "holds no values; write"),
        ("v.csv", "scenario,cluster.nodes\na,\n", "holds no values; write"),
        ("v.csv", "cluster.nodes,\n1,2\n", 'line 1: column 2: "" is no field; write its path'),
        ("v.csv", "cluster.nodes,cluster.nodes\n1,2\n", "line 1: two columns are cluster.nodes; keep one"),
        ("v.csv", "cluster.nodes,cluster.pools.0.nodes\n1,2\n", "line 2: cluster.pools.0.nodes: a field is varied twice"),
        ("v.csv", "scenario,scenario\n1,2\n", "two columns are scenario; keep one"),
        ("v.csv", "cluster.nodes,name\n1,a\n\n2\n", "line 4: has 1 values for 2 columns; give one for each"),
        ("v.csv", "cluster.nodes\n1,2\n", "line 2: has 2 values for 1 columns"),
        ("v.csv", "cluster.nodes,name\n1,a\n,\n", "line 3: sets nothing; give a value or remove it"),
        ("v.csv", "cluster.nodes\n1\n2\n1\n", "line 4: the same row is given before; keep one"),
        ("v.csv", "scenario,cluster.nodes\na,1\na,2\n", "line 3: its name is given before; keep one"),
        ("v.csv", "scenario,cluster.nodes\n,1\n", 'line 2: "" names no scenario; write plain text'),
        ("v.csv", f"scenario,cluster.nodes\n{'a' * 121},1\n", "names no scenario; write plain text of 1 to 120"),
        ("v.csv", 'scenario,cluster.nodes\n"a\nb",1\n', "line 3: \"a\\nb\" names no scenario"),
        ("v.csv", "cluster.nodez\n1\n", "line 2: cluster.nodez: no such field 'nodez'; did you mean"),
        ("v.csv", "cluster.nodes;name\n1;2\n", "no such field"),
        ("v.csv", 'cluster.nodes\n"1\n', "not CSV (unexpected end of data); correct it"),
        ("v.csv", 'name\n"1"2\n', "line 2: not CSV"),
        ("v.csv", f"name\n{'x' * 200_000}\n", "line 2: not CSV (field larger"),
        ("v.csv", 'name\n"a\nb"\n', "line 3: name: holds characters that cannot be printed"),
        ("v.csv", f"space.tp\n\"{'[' * 50}1{']' * 50}\"\n", "line 2: space.tp: nested too deeply; at most 40"),
        ("v.csv", "cluster.nodes\nInfinity\n", "line 2: cluster.nodes: Infinity is not a number"),
        ("v.csv", "workload\n@no.json\n", "line 2: workload: "),
        ("v.csv", "workload\n@\n", "@ alone names no file; write @FILE"),
        ("v.json", "", "not JSON"),
        ("v.json", "[", "not JSON"),
        ("v.json", [], "holds no values; write a list"),
        ("v.json", {}, "holds no values; write a list"),
        ("v.json", [{}], "holds no values"),
        ("v.json", {"today": {}}, "holds no values"),
        ("v.json", "5", "holds no rows; write a list"),
        ("v.yaml", "", "holds no rows; write a list"),
        ("v.json", [{"cluster.nodes": 1}, {}], "row 2: sets nothing; give a value or remove it"),
        ("v.json", [{"cluster.nodes": 1}, 5], "row 2: is no object; write a list"),
        ("v.json", {"cluster.nodes": [1, 2]}, 'scenario "cluster.nodes": is no object; write a list'),
        ("v.json", {"a": {"cluster.nodes": 1, "scenario": "b"}}, 'scenario "a": has a name already; remove its field scenario'),
        ("v.json", [{"cluster.nodes": 1}, {"cluster.nodes": 1}], "row 2: the same row is given before; keep one"),
        ("v.json", [{"cluster.nodes": 1, "scenario": "a"}, {"cluster.nodes": 1, "scenario": " a "}], "row 2: its name is given before"),
        ("v.json", [{"cluster.nodes": 1, "scenario": None}], "row 1: null names no scenario"),
        ("v.json", [{"cluster.nodes": 1, "scenario": " "}], "names no scenario"),
        ("v.json", {"\u001b[2J": {"cluster.nodes": 1}}, "names no scenario"),
        ("v.json", [{"": 1}], 'row 1: "" is no field; write its path'),
        ("v.json", [{"a\nb": 1}], "is no field; write its path"),
        ("v.json", [{"x." * 100: 1}], "is no field; write its path"),
        ("v.json", [{"cluster.nodes": 1}, {"bogus": 1}], "row 2: bogus: no such field 'bogus'; see"),
        ("v.json", [{"name": "a\nb"}], "row 1: name: holds characters that cannot be printed"),
        ("v.json", [{"workload": "@no.json"}], "row 1: workload: "),
        ("v.json", '[{"cluster.nodes": 1, "cluster.nodes": 2}]', "given twice in one object; keep one"),
        ("v.json", '[{"cluster.nodes": NaN}]', "is not a number that can be used"),
        ("v.json", "[" * 100_000, "nested too deeply"),
        ("v.json", f"[{{\"space.tp\": {'[' * 50}{']' * 50}}}]", "nested too deeply"),
        ("v.csv", "cluster.nodes\n" + "\n".join(map(str, range(100_001))), "more than 100000 rows; at most"),
        ("v.csv", ",".join(f"expert_load.counts.0.{n}" for n in range(201)) + "\n" + "1," * 200 + "1", "201 fields vary; at most 200"),
    ],
)  # fmt: skip
def test_a_variants_file_that_cannot_be_used_ends_in_one_sentence(name: str, content: Any, why: str, tmp_path: Path) -> None:
    file = a_file(tmp_path, content, name)
    with pytest.raises(InputError) as caught:
        variants(file=file)
    said = str(caught.value)
    assert said.startswith(f"{file}: "), said
    assert why in said, said
    assert REMEDY.search(said.removeprefix(f"{file}: ")), said


def test_a_variants_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("no.csv", "no.json"):
        with pytest.raises(InputError, match="no such file; check the path"):
            variants(file=tmp_path / name)
    with pytest.raises(InputError, match="is a folder; give a file"):
        variants(file=tmp_path)


def test_a_field_of_both_the_file_and_an_option_is_refused(tmp_path: Path) -> None:
    file = a_file(tmp_path, [{"cluster.nodes": 1}])
    with pytest.raises(InputError, match=r"--vary cluster\.pools\.nodes: a field is varied twice; give all its values at once"):
        variants("cluster.pools.nodes=2", file=file)


def test_rows_times_values_are_counted_together(tmp_path: Path) -> None:
    file = a_file(tmp_path, [{"cluster.nodes": n} for n in range(1, 301)])
    with pytest.raises(InputError, match="--vary: 120000 variants; at most 100000"):
        variants("workload.sequences=1..400:+1", file=file)


def test_accelerators_by_name_are_a_field_that_varies() -> None:
    found = variants("cluster.accelerator=H100,H200,B200", base=read_with_overrides(REFERENCE, []))
    pools = [validate(found.data(n), Instance, "here").cluster.pool for n in range(3)]
    assert [pool.accelerator.name for pool in pools] == ["H100-SXM-80GB", "H200-SXM-141GB", "B200-SXM-180GB"]
    assert {(pool.nodes, pool.scale_up.bandwidth_bytes_per_s) for pool in pools} == {(16, 400 * 10**9)}
