"""What the README shows is what the commands print."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def output_of(arguments: list[str], folder: Path = ROOT) -> str:
    run = subprocess.run([sys.executable, "-m", "optimizer", *arguments], capture_output=True, text=True, cwd=folder)
    return run.stdout.rstrip()


def test_the_first_command_prints_what_the_readme_shows() -> None:
    command = re.search(r"shardproof (search instances/\S+\.json)\n```", README)
    shown = re.search(r"```text\n(ep64.*?)\n```", README, re.DOTALL)
    assert command is not None
    assert shown is not None
    assert output_of(command[1].split()) == shown[1]


def test_the_second_command_runs_the_tests() -> None:
    blocks = re.findall(r"```sh\n(.*?)\n```", README, re.DOTALL)
    assert blocks[1].split("/")[-1] == "python -m pytest"


def shown_runs() -> list[tuple[str, str]]:
    """Every command of the console blocks with the output shown below it."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)\n```", README, re.DOTALL))
    return [
        (command, text.strip("\n"))
        for command, text in re.findall(r"^\$ shardproof (\S[^\n]*)\n?(.*?)(?=^\$|\Z)", blocks, re.DOTALL | re.M)
    ]


def test_every_shown_run_prints_what_the_readme_shows(tmp_path: Path) -> None:
    (tmp_path / "instances").symlink_to(ROOT / "instances")
    shown = [(command, text) for command, text in shown_runs() if text]
    assert len(shown) >= 2
    for command, text in shown:
        assert output_of(shlex.split(command, comments=True), tmp_path) == text


@pytest.mark.parametrize("document", ["README.md", *(p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").glob("*.md")))])
def test_every_link_and_path_leads_somewhere(document: str) -> None:
    text, folder = (ROOT / document).read_text(encoding="utf-8"), (ROOT / document).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:models|optimizer|instances)/[\w./]+\.\w+)`", text)
    assert all((folder / link).exists() for link in links)
    assert all((ROOT / path).exists() for path in paths)
