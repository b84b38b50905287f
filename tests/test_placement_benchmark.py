"""The comparison with the greedy balancer: what it reads, what it prints, and what it does not believe."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from benchmarks.greedy import balance_flat, max_over_mean
from benchmarks.load_matrices import Configuration, Matrix, configurations, expert_groups, read_matrices
from benchmarks.placement import HEADER, UNIT, Placed, as_json, as_line, compare, heading, measure, together
from models.strategy import RankContents

MATRIX = [[9, 7, 4, 4, 1, 3], [0] * 6, [50, 2, 2, 2, 2, 2]]
TWO_RANKS = Configuration(2, 3, 2)


@dataclass(frozen=True)
class Stub:
    contents: RankContents
    value: int
    bound: int


def stub(matrix: Matrix, c: Configuration, contents: RankContents | None = None, value: int = 0, bound: int = UNIT) -> list[Placed | None]:
    """What the greedy balancer finds, with the mean as bound; one of them is changed on request."""

    def placed(row: list[int]) -> Stub:
        found = contents or balance_flat(row, c.ranks, c.slots)
        return Stub(found, round(max_over_mean(found, row) * UNIT) + value, bound)

    return [placed(row) if any(row) else None for row in matrix]


def test_only_whole_number_matrices_of_layers_and_experts_are_read(tmp_path: Path) -> None:
    arrays = {
        "floats": np.array([[1.0, 2.0] * 4]),
        "integers": np.arange(16).reshape(2, 8),
        "routing": np.ones((2, 8, 8), dtype=np.int64),
        "shares": np.full((2, 8), 0.125),
        "negative": np.full((2, 8), -1),
        "missing": np.full((2, 8), np.nan),
        "idle": np.zeros((2, 8), dtype=np.int64),
        "prime": np.ones((2, 7), dtype=np.int64),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "README.md").write_text("no matrix", encoding="utf-8")
    matrices, skipped = read_matrices(tmp_path)
    assert matrices == {"floats": [[1, 2] * 4], "integers": [list(range(8)), list(range(8, 16))]}
    assert skipped == {
        "routing": "shape [2, 8, 8], not [layers, experts]",
        **dict.fromkeys(("shares", "negative", "missing"), "not whole numbers"),
        "idle": "no load",
        "prime": "no configuration for 7 experts",
    }


@pytest.mark.parametrize("experts", [8, 32, 60, 64, 128, 256, 384])
def test_configurations_hold_every_expert_and_share_them_equally(experts: int) -> None:
    found = configurations(experts)
    assert len(set(found)) == len(found) >= 2
    for ranks, slots, nodes in found:
        assert ranks * slots >= experts
        assert ranks % (nodes or 1) == 0
        assert experts % expert_groups(experts) == 0
        assert nodes is None or expert_groups(experts) % nodes == 0


def test_smaller_models_get_none_and_about_an_eighth_of_redundant_slots() -> None:
    assert [(c.ranks, c.slots, c.nodes) for c in configurations(64)] == [
        (4, 16, 1),
        (4, 18, 1),
        (8, 8, 1),
        (8, 9, 1),
        (16, 4, 2),
        (16, 5, 2),
    ]


def test_a_comparison_leaves_out_layers_without_load() -> None:
    r = compare("m", MATRIX, TWO_RANKS, stub)
    assert r.flat.layers() == r.ours.layers() == [1.0, pytest.approx(54 / 30)]
    assert r.bound.layers() == [1.0, 1.0]
    assert r.gaps_pct() == pytest.approx([0, 80])
    assert r.hierarchical is not None
    assert len(r.hierarchical.layers()) == 2
    assert compare("m", MATRIX, Configuration(2, 3, 1), stub).hierarchical is None
    assert compare("m", MATRIX, Configuration(2, 3, None), stub).hierarchical is None


def test_a_line_holds_the_numbers_of_a_matrix_and_the_last_the_range_of_all() -> None:
    one, other = compare("one", MATRIX[:1], TWO_RANKS, stub), compare("other", MATRIX[1:], Configuration(2, 3, 1), stub)
    assert as_line(one).split()[:5] == ["one", "1.0000", "1.0000", "1.0000", "1.0000"]
    assert as_line(other).split()[:9] == ["other", "1.8000", "-", "1.8000", "1.0000", "|", "80.0000", "80.0000", "|"]
    total = as_line(together([one, other]))
    assert total.split()[:10] == ["all", "2", "1.0000-1.8000", "1.0000", "1.0000-1.8000", "1.0000-1.0000", "|", "40.0000", "80.0000", "|"]
    assert len(as_line(one)) == len(as_line(other)) == len(total) == len(HEADER)
    assert heading(6, TWO_RANKS) == "6 experts, 2 ranks of 3 slots on 2 nodes, 0 redundant"
    assert heading(6, Configuration(2, 4, None)) == "6 experts, 2 ranks of 4 slots, 2 redundant"


def test_json_holds_the_same_numbers() -> None:
    one, other = compare("one", MATRIX[:1], TWO_RANKS, stub), compare("other", MATRIX[1:], Configuration(2, 3, 1), stub)
    data = as_json(together([one, other]))
    assert data["matrices"] == ["one", "other"]
    assert data["layers"] == 2
    assert {k: v for k, v in data["ours"].items() if k != "seconds"} == {
        **{"mean": 1.4, "worst": 1.8, "least_matrix": 1.0, "largest_matrix": 1.8},
        "duplicates": 0,
    }
    assert data["gap_pct"] == {"mean": 40.0, "worst": 80.0}
    assert as_json(other)["greedy_hierarchical"] is None


def test_each_configuration_of_each_number_of_experts_has_a_block() -> None:
    matrices = {"a": [list(range(1, 9))], "b": [list(range(1, 33))], "c": [[5, 1] * 4]}
    lines: list[str] = []
    blocks = list(measure(matrices, duplicate_free, lines.append))
    assert [(b["experts"], b["ranks"], b["slots"]) for b in blocks] == [(e, c.ranks, c.slots) for e in (8, 32) for c in configurations(e)]
    assert [len(b["rows"]) for b in blocks] == [2] * len(configurations(8)) + [1] * len(configurations(32))
    assert sum(line.startswith("all 2") for line in lines) == len(configurations(8))


def duplicate_free(matrix: Matrix, c: Configuration) -> list[Placed | None]:
    """Experts dealt to the ranks in turn: at most `slots` different ones on each."""
    experts = len(matrix[0])
    contents = tuple(tuple((rank * c.slots + i) % experts for i in range(c.slots)) for rank in range(c.ranks))
    return stub(matrix, c, contents)


FALSE = {
    "a value below that of the contents": {"value": -2},
    "a bound above the value": {"bound": 2 * UNIT},
    "an expert twice on a rank": {"contents": ((0, 0, 1), (2, 3, 4))},
    "an expert nowhere": {"contents": ((0, 1, 2), (2, 3, 4))},
    "a slot left empty": {"contents": ((0, 1, 2, 3), (4, 5))},
}


@pytest.mark.parametrize("change", FALSE.values(), ids=FALSE)
def test_what_is_no_placement_or_weighs_otherwise_is_refused(change: dict) -> None:
    with pytest.raises(AssertionError):
        compare("m", MATRIX[:1], TWO_RANKS, lambda matrix, c: stub(matrix, c, **change))
