"""A batch survives what ends its processes, keeps every finished row, and leaves nothing running.

The drivers are processes of their own, as a user's shell starts them, and are ended as a user or a kernel ends them.
"""

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import pytest
from test_batch_rows import BANDWIDTH, GRID, LLAMA, Here, Json, batch, refused, run, table

from optimizer.batching.journal import Journal
from optimizer.batching.solver import Job
from optimizer.batching.variants import Setting
from optimizer.batching.workers import Crew

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
MANY = ("--vary", f"{BANDWIDTH}=21..120 GB/s:+1", "--set", "workload.sequences=2")  # milliseconds each
ROWS = 100
LOG = 1_500_000  # bytes, about, that the log of `MANY` grows to


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants are solved in this process."""
    for module in ("run", "probes"):
        monkeypatch.setattr(f"optimizer.batching.{module}.Crew", Here)


@pytest.fixture(scope="module")
def undisturbed() -> Iterator[Path]:
    """The batch of `MANY` in one run."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("optimizer.batching.run.Crew", Here)
        batch(LLAMA, Path(folder) / "b", *MANY)
        patch.undo()
        yield Path(folder) / "b"


class Process(NamedTuple):
    """A process, told from a later one of the same number."""

    pid: int
    since: str

    @property
    def alive(self) -> bool:
        return (found := _stat(self.pid)) is not None and found[19] == self.since and found[0] not in "ZX"

    @property
    def command(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""


def _stat(pid: int) -> list[str] | None:
    """State, parent, ... of a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def below(pid: int) -> list[Process]:
    """Every process that one has started, and those that they have."""
    stats = {int(p.name): s for p in Path("/proc").iterdir() if p.name.isdecimal() and (s := _stat(int(p.name)))}
    found, todo = list[Process](), [pid]
    while todo:
        parent = todo.pop()
        for child, stat in stats.items():
            if int(stat[1]) == parent:
                found.append(Process(child, stat[19]))
                todo.append(child)
    return found


def solving(pid: int) -> list[Process]:
    """The processes that solve for a driver."""
    return [p for p in below(pid) if "spawn_main" in p.command]


def until(what: Callable[[], T], seconds: float = 180.0) -> T:
    """What a function gives once that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)
    return found


@contextmanager
def driver(*args: object, env: Json | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command in a process group of its own; nothing of it is left afterwards, whatever happens."""
    command = [sys.executable, *map(str, args)] if args[0] == "-c" else [sys.executable, "-m", "optimizer", *map(str, args)]
    found = os.pathsep.join(map(str, (ROOT, ROOT / "tests", os.environ.get("PYTHONPATH", ""))))
    everything = os.environ | {"PYTHONPATH": found} | (env or {})
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=everything, start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def log_of(folder: Path) -> int:
    """Bytes in the journal's log: how far a running batch is."""
    try:
        return (folder / "journal.sqlite-wal").stat().st_size
    except OSError:
        return 0


def kept(folder: Path) -> int:
    """Rows in a journal, looked at in a copy."""
    with TemporaryDirectory() as copy:
        for file in folder.glob("journal.sqlite*"):
            shutil.copy(file, copy)
        if not (Path(copy) / "journal.sqlite").exists():
            return 0
        store = sqlite3.connect(Path(copy) / "journal.sqlite")
        with suppress(sqlite3.Error):
            return int(store.execute("SELECT count(*) FROM rows").fetchone()[0])
        return 0


def same(folder: Path, undisturbed: Path) -> None:
    """The table is that of an undisturbed run, and nothing else lies about."""
    assert (folder / "results.csv").read_bytes() == (undisturbed / "results.csv").read_bytes()
    assert {f.name for f in folder.iterdir()} == {f.name for f in undisturbed.iterdir()}


# The driver is ended


@pytest.mark.parametrize("group", [True, False])
def test_kill_costs_no_finished_row_and_leaves_no_process(group: bool, undisturbed: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "b", random.Random(group)
    command = ("batch", "run", LLAMA, *MANY, "--out", folder, "--workers", 2, "--resume", "--json", "--quiet")
    before = 0
    for far in (0, rng.randrange(LOG // 8, LOG // 2)):
        with driver(*command) as process:
            until(lambda far=far: log_of(folder) > far if far else (folder / "journal.sqlite").exists())
            left = below(process.pid)
            os.kill(-process.pid if group else process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            until(lambda left=left: not any(p.alive for p in left), 60.0)
        assert not (folder / "results.csv").exists()
        now = kept(folder)
        assert now >= before
        before = now
    assert before > 0
    with driver(*command) as process:
        text, said = process.communicate(timeout=300)
        assert (process.returncode, said) == (0, "")
    counts = json.loads(text)
    assert (counts["skipped"], counts["solved"], counts["failed"]) == (before, ROWS - before, 0)
    same(folder, undisturbed)


def test_ctrl_c_says_how_many_rows_are_kept_and_shows_no_traceback(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    command = ("batch", "run", LLAMA, *MANY, "--out", folder, "--workers", 2, "--resume", "--quiet")
    moments: tuple[Callable[[int], object], ...] = (
        lambda pid: len(solving(pid)) == 2,  # they are only starting
        lambda _: log_of(folder) > LOG // 4,
        lambda pid: len(solving(pid)) == 2,  # before it comes to what is kept
    )
    found = []
    for moment in moments:
        with driver(*command) as process:
            until(lambda pid=process.pid, moment=moment: moment(pid))
            left = below(process.pid)
            os.killpg(process.pid, signal.SIGINT)
            text, said = process.communicate(timeout=300)
        assert (process.returncode, text) == (130, "")
        match = re.fullmatch(
            rf"interrupted: (\d+) of {ROWS} rows are kept in {re.escape(str(folder))}; --resume goes on from there\n", said
        )
        assert match, said
        found.append(int(match[1]))
        assert found[-1] == kept(folder)
        until(lambda left=left: not any(p.alive for p in left), 60.0)
        assert json.loads((folder / "batch.json").read_text())["status"] == "RUNNING"
    assert ROWS > found[2] >= found[1] > found[0]
    report = run("batch", "report", folder, "--json", "--quiet", "--changes", 0)
    assert report.exit_code == 0
    assert json.loads(report.stdout)["rows"]["missing"] == ROWS - found[2]
    counts = batch(LLAMA, folder, *MANY, "--resume")
    assert (counts["skipped"], counts["solved"]) == (found[2], ROWS - found[2])
    assert (folder / "results.csv").read_bytes() == (undisturbed / "results.csv").read_bytes()


class Moody:
    """Variants of which some end the process that reads them, or keep it busy."""

    def __init__(self, variants: Any, moods: dict[str, str]) -> None:
        self.variants, self.moods = variants, moods

    def with_settings(self, settings: tuple[Setting, ...]) -> Any:
        mood = self.moods.get(settings[0].text, "") if parent_process() is not None else ""
        if mood == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif mood == "exits":
            os._exit(3)
        elif mood == "raises":
            raise RuntimeError("boom")
        elif mood == "dies once" and not Path(f"{os.environ['MOODY']}").exists():
            Path(os.environ["MOODY"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while mood == "works":
            pass
        while mood == "sleeps":
            time.sleep(1)
        return self.variants.with_settings(settings)


def moody(**moods: str) -> Callable[[Job, int], Crew]:
    """A crew in whose processes the variants whose first value is a name (`v3`: 3) have a mood."""
    named = {name[1:]: mood for name, mood in moods.items()}
    return lambda job, workers: Crew(job._replace(variants=Moody(job.variants, named)), workers)


DRIVE = """
import optimizer.batching.run as run, test_batch_survives as here
from optimizer.cli import main
if __name__ == "__main__":
    run.Crew = here.moody(v2="works", v3="sleeps")
    main()
"""


def test_a_process_in_the_middle_of_a_long_variant_ends_with_its_driver(tmp_path: Path) -> None:
    args = ("batch", "run", LLAMA, "--vary", "workload.sequences=1,2,3", "--out", tmp_path / "b", "--workers", "3")
    with driver("-c", DRIVE, *args) as process:
        until(lambda: kept(tmp_path / "b") == 1)
        left = below(process.pid)
        time.sleep(0.3)
        assert len(solving(process.pid)) == 3
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until(lambda: not any(p.alive for p in left), 60.0)


# Two drivers


def test_only_one_driver_writes_into_a_folder(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    with driver("batch", "run", LLAMA, *MANY, "--out", folder, "--workers", 1, "--quiet") as process:
        until(lambda: log_of(folder) > LOG // 8)
        os.killpg(process.pid, signal.SIGSTOP)
        again = ("batch", "run", LLAMA, *MANY, "--out", folder)
        for args in ((*again, "--resume"), (*again, "--force"), (*again, "--resume", "--force"), ("batch", "report", folder)):
            assert "another batch is writing there" in refused(*args)
        assert "another batch is writing there" in refused("batch", "merge", undisturbed, folder, "--out", tmp_path / "m")
        assert "is not empty" in refused(*again)
        assert not (tmp_path / "m").exists()
        os.killpg(process.pid, signal.SIGCONT)
        assert process.wait(timeout=300) == 0
    same(folder, undisturbed)


# A solving process is ended


def test_killed_processes_cost_nothing_but_a_retry(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    with driver("batch", "run", LLAMA, *MANY, "--out", folder, "--workers", 2, "--json", "--quiet") as process:
        os.kill(until(lambda: solving(process.pid))[0].pid, signal.SIGKILL)  # it is only starting
        until(lambda: log_of(folder) > LOG // 3)
        os.kill(solving(process.pid)[0].pid, signal.SIGKILL)
        text, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    counts = json.loads(text)
    assert (counts["solved"], counts["failed"]) == (ROWS, 0)
    same(folder, undisturbed)


def test_a_variant_that_ends_its_process_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOODY", str(tmp_path / "died"))
    vary = ("--vary", "workload.sequences=1..10:+1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("optimizer.batching.run.Crew", moody(v3="killed", v4="exits", v7="dies once", v9="raises"))
        result = run("batch", "run", LLAMA, *vary, "--out", tmp_path / "b", "--workers", 2, "--json", "--quiet")
    counts = json.loads(result.stdout)
    assert (result.exit_code, counts["solved"], counts["failed"]) == (0, 7, 3)
    assert (tmp_path / "died").exists()
    assert "RuntimeError: boom" in capfd.readouterr().err
    errors = {row["workload.sequences"]: row["error"] for row in table(tmp_path / "b") if row["status"] == "FAILED"}
    assert errors == {
        "3": "the process that solved it died twice (signal 9, as when memory runs out); use a smaller space or more memory",
        "4": "the process that solved it died twice (exit code 3); use a smaller space or more memory",
        "9": "the process that solved it died twice (exit code 1); use a smaller space or more memory",
    }
    monkeypatch.setattr("optimizer.batching.run.Crew", Here)
    batch(LLAMA, tmp_path / "whole", *vary)
    whole = table(tmp_path / "whole")
    assert [r for r in table(tmp_path / "b") if not r["error"]] == [r for r in whole if r["workload.sequences"] not in errors]
    counts = batch(LLAMA, tmp_path / "b", *vary, "--resume")
    assert (counts["solved"], counts["skipped"], counts["failed"]) == (3, 7, 0)
    same(tmp_path / "b", tmp_path / "whole")


def test_processes_are_replaced_and_the_table_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.batching.workers.VARIANTS_PER_PROCESS", 3)
    folder, started = tmp_path / "b", []
    monkeypatch.setattr("optimizer.batching.workers.resource_tracker.ensure_running", lambda: started.append(1))
    vary = ("--vary", "workload.sequences=1..7:+1")
    batch(LLAMA, folder, *vary)
    assert len(started) == 3
    monkeypatch.setattr("optimizer.batching.run.Crew", Here)
    batch(LLAMA, tmp_path / "whole", *vary)
    same(folder, tmp_path / "whole")


def test_a_process_that_takes_far_longer_than_the_clock_allows_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimizer.batching.workers.GRACE_S", 5.0)
    monkeypatch.setattr("optimizer.batching.run.Crew", moody(v2="sleeps"))
    args = ("--vary", "workload.sequences=1,2,3", "--seconds", 0.5, "--workers", 1, "--strict", "--json", "--quiet")
    result = run("batch", "run", LLAMA, *args, "--out", tmp_path / "b")
    assert result.exit_code == 4
    rows = table(tmp_path / "b")
    assert [row["status"] for row in rows] == ["OPTIMAL", "FAILED", "OPTIMAL"]
    assert rows[1]["error"] == "not solved within 6 s; raise --seconds"


# Going on


@pytest.mark.usefixtures("here")
def test_more_values_keep_the_rows_that_there_are(tmp_path: Path) -> None:
    few, more = (("--vary", f"workload.sequences={values}") for values in ("8,16,-1", "4,8,12,16"))
    assert batch(LLAMA, tmp_path / "b", *few)["solved"] == 2
    counts = batch(LLAMA, tmp_path / "b", *more, "--resume")
    assert [counts[k] for k in ("rows", "solved", "skipped", "failed")] == [4, 2, 2, 0]
    batch(LLAMA, tmp_path / "whole", *more)
    same(tmp_path / "b", tmp_path / "whole")
    counts = batch(LLAMA, tmp_path / "b", *few, "--resume")
    assert [counts[k] for k in ("rows", "solved", "skipped", "failed")] == [3, 0, 2, 1]
    batch(LLAMA, tmp_path / "few", *few)
    same(tmp_path / "b", tmp_path / "few")


@pytest.mark.usefixtures("here")
def test_other_options_solve_again_and_other_names_do_not(tmp_path: Path) -> None:
    vary = ("--vary", "workload.sequences=8,16")
    batch(LLAMA, tmp_path / "b", *vary)
    for args in (("--effort", 9), ("--seed", 5), ("--seconds", 100), ("--set", "workload.context_tokens=512"), ("--space", "classic")):
        assert batch(LLAMA, tmp_path / "b", *vary, *args, "--resume")["solved"] == 2, args
        assert batch(LLAMA, tmp_path / "b", *vary, *args, "--resume")["skipped"] == 2, args
    for args in ((), ("--workers", 3), ("--shard", "1/1"), ("--strict",)):
        assert batch(LLAMA, tmp_path / "b", *vary, *args, "--resume")["skipped"] == 2, args
    with pytest.MonkeyPatch.context() as patch:
        for module in ("request", "solver"):
            patch.setattr(f"optimizer.batching.{module}.tool_versions", lambda seed: {"cost_model": "another", "seed": seed})
        assert "another version" in refused("batch", "report", tmp_path / "b")
        assert "another version" in refused("batch", "merge", tmp_path / "b", "--out", tmp_path / "m")
        assert batch(LLAMA, tmp_path / "b", *vary, "--resume")["solved"] == 2


@pytest.mark.usefixtures("here")
def test_a_run_without_resume_neither_goes_on_nor_overwrites(tmp_path: Path) -> None:
    vary = ("--vary", "workload.sequences=8,16")
    batch(LLAMA, tmp_path / "b", *vary)
    before = {f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()}
    assert "--force" in refused("batch", "run", LLAMA, *vary, "--out", tmp_path / "b")
    assert before == {f.name: f.read_bytes() for f in (tmp_path / "b").iterdir()}
    (tmp_path / "b" / "notes.txt").write_text("mine")
    counts = batch(LLAMA, tmp_path / "b", *vary, "--force")
    assert (counts["solved"], counts["skipped"]) == (2, 0), "--force begins anew"
    assert (tmp_path / "b" / "notes.txt").read_text() == "mine"
    assert batch(LLAMA, tmp_path / "new", *vary, "--resume")["solved"] == 2, "--resume may be the first run"


@pytest.mark.usefixtures("here")
def test_a_folder_that_was_only_just_begun_can_be_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    Journal(tmp_path / "b").__exit__(None, None, None)
    assert batch(LLAMA, tmp_path / "b", "--vary", "workload.sequences=8", "--resume")["solved"] == 1
    (tmp_path / "b" / "batch.json").unlink()
    assert "--force" in refused("batch", "run", LLAMA, "--vary", "workload.sequences=8", "--out", tmp_path / "b", "--resume")


# Journals that are none


def _rewrite(path: Path, *statements: str) -> None:
    store = sqlite3.connect(path)
    for statement in statements:
        store.execute(statement)
    store.commit()
    store.close()


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = bytes(b ^ 0x55 for b in content[page * 4096 : page * 4096 + 64])
    path.write_bytes(content)


def _replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(random.Random(0).randbytes(9_999)),
    "text": lambda path: path.write_text("not a journal\n" * 99),
    "cut in the first page": lambda path: os.truncate(path, 100),
    "cut": lambda path: os.truncate(path, 9_000),
    "flipped": _flip,
    "a folder": _replace_by_folder,
    "another's tables": lambda path: _rewrite(path, "DROP TABLE rows", "CREATE TABLE rows (a)"),
}


@pytest.fixture
def grid(here: None, tmp_path: Path) -> Path:  # noqa: ARG001 (asked for what it sets up)
    batch(LLAMA, tmp_path / "grid", *GRID)
    return tmp_path / "grid"


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_journal_is_refused_in_one_sentence(name: str, grid: Path, tmp_path: Path) -> None:
    shutil.copytree(grid, tmp_path / "b")
    DAMAGE[name](tmp_path / "b" / "journal.sqlite")
    before = (tmp_path / "b" / "results.csv").read_bytes()
    commands: tuple[tuple[object, ...], ...] = (
        ("batch", "run", LLAMA, *GRID, "--out", tmp_path / "b", "--resume", "--quiet"),
        ("batch", "report", tmp_path / "b", "--quiet"),
        ("batch", "merge", grid, tmp_path / "b", "--out", tmp_path / "m"),
    )
    for command in commands:
        assert str(tmp_path / "b") in refused(*command)
    assert (tmp_path / "b" / "results.csv").read_bytes() == before
    if name == "a folder":
        assert "cannot be removed" in refused("batch", "run", LLAMA, *GRID, "--out", tmp_path / "b", "--force")
        (tmp_path / "b" / "journal.sqlite").rmdir()
    assert batch(LLAMA, tmp_path / "b", *GRID, "--force")["solved"] == 6
    same(tmp_path / "b", grid)


def test_damaged_rows_are_said_and_solved_again(grid: Path, tmp_path: Path) -> None:
    ours = "key IN (SELECT key FROM entries WHERE number IN (0, 6))"
    damage = {"{": 2, "[]": 2, '{"status": "OPTIMAL"}': 2, "": 2}
    for text, count in damage.items():
        shutil.copytree(grid, tmp_path / "b", dirs_exist_ok=True)
        _rewrite(tmp_path / "b" / "journal.sqlite", f"UPDATE rows SET row = '{text}' WHERE {ours}")
        assert "the row of variant 1 is damaged" in refused("batch", "report", tmp_path / "b")
        assert "the row of variant 1 is damaged" in refused("batch", "merge", tmp_path / "b", "--out", tmp_path / "m", "--force")
        counts = batch(LLAMA, tmp_path / "b", *GRID, "--resume")
        assert (counts["solved"], counts["skipped"]) == (count, 6 - count)
        same(tmp_path / "b", grid)
    _rewrite(tmp_path / "b" / "journal.sqlite", f"UPDATE rows SET certificate = x'00' WHERE {ours}")
    assert "the certificate of variant 1 is damaged" in refused(
        "batch", "report", tmp_path / "b", "--quiet", "--certificates", tmp_path / "c"
    )
    assert not (tmp_path / "c").exists()


@contextmanager
def nobody() -> Iterator[None]:
    """This process without the rights of root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_refused_in_one_sentence(grid: Path) -> None:
    run("batch", "report", grid, "--quiet")  # what it imports is read as root
    with TemporaryDirectory() as folder:
        locked = Path(folder) / "b"
        shutil.copytree(grid, locked)
        for path in (locked, *locked.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
        Path(folder).chmod(0o555)
        with nobody():
            command = ("batch", "run", LLAMA, *GRID, "--out", locked)
            for args in ((*command, "--resume"), ("batch", "report", locked)):
                assert re.search("journal.sqlite cannot be (used|removed)", refused(*args))
            assert "cannot be removed (Permission denied)" in refused(*command, "--force")
            assert "cannot be written (Permission denied)" in refused(*command[:-1], Path(folder) / "new")
        Path(folder).chmod(0o755)
        for path in (locked, *locked.iterdir()):
            path.chmod(0o755)
        assert (locked / "results.csv").read_bytes() == (grid / "results.csv").read_bytes()


# Ray


def test_without_ray_its_executor_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    said = refused("batch", "run", LLAMA, "--vary", "workload.sequences=1", "--executor", "ray", "--out", tmp_path / "b")
    assert said == "Error: --executor ray: Ray is not installed; pip install 'shardproof[ray]', or use --executor local\n"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", "no such:thing"])
def test_a_cluster_that_is_not_there_is_refused_at_once(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray, an optional extra")
    args = ("--vary", "workload.sequences=1", "--executor", "ray", "--ray-address", address, "--out", tmp_path / "b")
    started = time.monotonic()
    assert refused("batch", "run", LLAMA, *args).startswith(f"Error: --ray-address {address}: no Ray cluster there (")
    assert time.monotonic() - started < 120  # Ray itself would try for minutes on end


def test_ray_gives_the_same_table_though_one_of_its_processes_is_killed(undisturbed: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray, an optional extra")
    args = ("batch", "run", LLAMA, *MANY, "--out", tmp_path / "b", "--executor", "ray", "--json", "--quiet")
    with driver(*args, env={"RAY_ADDRESS": "127.0.0.1:1"}) as process:  # without --ray-address a local one is started
        until(lambda: log_of(tmp_path / "b") > LOG // 16 or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        victim = until(lambda: [p for p in below(process.pid) if p.command.startswith("ray::_solve")])[0]
        os.kill(victim.pid, signal.SIGKILL)
        text, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    counts = json.loads(text)
    assert (counts["solved"], counts["failed"]) == (ROWS, 0)
    same(tmp_path / "b", undisturbed)
