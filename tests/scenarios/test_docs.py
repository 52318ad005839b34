"""What the documents say is so: links lead somewhere, commands exist, and README's five minutes work as written."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from governance.cli.stage.stage import REPOSITORY
from governance.devserver import DevServer
from tests.scenarios.cli import clean

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_BLOCK = re.compile(r"^```sh\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?P<line>mlgov [a-z][^`]*)`")


def links() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for match in _LINK.finditer(page.read_text()):
            if "://" not in match["target"]:
                yield str(page.relative_to(ROOT)), match["target"]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_links_lead_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    assert found.exists()
    assert not anchor or anchor in anchors(found)


def test_every_page_is_linked_from_another() -> None:
    linked = {((ROOT / page).parent / target.partition("#")[0]).resolve() for page, target in links()}
    assert {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md") if page not in linked} == set()


def test_the_map_of_rooms_has_the_layers_that_the_checks_keep() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    kept = {
        number: {name.strip().removeprefix("governance.") for name in layer.split("|")}
        for number, layer in enumerate(reversed(layers), start=1)
    }
    drawn: dict[int, set[str]] = {}
    for number, rooms in re.findall(
        r"^\| (\d+) \| ([^|]*) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE
    ):
        drawn.setdefault(int(number), set()).update(
            room.strip("`").removesuffix(".py") for room in rooms.split(", ")
        )
    assert drawn == kept
    assert {
        path.stem
        for path in ROOT.glob("governance/*")
        if path.name[0] not in "_." and path.name != "py.typed"
    } <= {room for rooms in drawn.values() for room in rooms}


def command_lines() -> Iterator[tuple[str, str]]:
    """Every `mlgov` command line of every page, in blocks and inside sentences."""
    for page in PAGES:
        text = page.read_text()
        if page.name == "commands.md":
            continue
        lines = [line for block in _BLOCK.finditer(text) for line in block["text"].splitlines()]
        for line in [*lines, *(match["line"] for match in _INLINE.finditer(text))]:
            if line.startswith("mlgov "):
                yield str(page.relative_to(ROOT)), line


@pytest.mark.parametrize(("page", "line"), sorted(set(command_lines())))
def test_commands_exist_with_the_options_named(page: str, line: str) -> None:
    words = line.partition("#")[0].split()
    verb = next(
        (" ".join(words[:n]) for n in (3, 2) if f"## `{' '.join(words[:n])}`" in COMMANDS.splitlines()), None
    )
    groups = {heading.split()[1] for heading in re.findall(r"^## `(mlgov [^`]+)`", COMMANDS, re.MULTILINE)}
    if verb is None:
        # A group of verbs named as such, such as `mlgov audit verify|tail|export`.
        assert words[1] in groups, f"{page}: there is no `{line}`"
        return
    section = COMMANDS.partition(f"## `{verb}`\n")[2].partition("\n## ")[0]
    for option in (word for word in words if word.startswith("-") and word != "-"):
        assert re.search(rf"`[^`|]*{re.escape(option)}\b", section), f"{page}: `{verb}` has no {option}"


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_readmes_make_targets_are_run_by_ci(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert re.search(rf"^make {target} ", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_readmes_five_minutes(devserver: DevServer, tmp_path: Path) -> None:
    """The block is run as it stands, with the embedded server in place of one's own Artifactory."""
    (block,) = [match["text"] for match in _BLOCK.finditer(README) if "mlgov keys init" in match["text"]]
    own = {
        "ARTIFACTORY_AUTH_TOKEN=...": f"ARTIFACTORY_AUTH_TOKEN={devserver.token('alice')}",
        "https://acme.jfrog.io/artifactory": devserver.artifactory_url,
        "pip install mlflow-governance": "true",
        "mlgov ": f"{sys.executable} -m governance.cli.main ",
    }
    for before, after in own.items():
        assert before in block
        block = block.replace(before, after)
    environment = clean(HOME=str(tmp_path))
    del environment["MLGOV_HOME"]
    done = subprocess.run(
        ["bash", "-euc", block],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"repository {REPOSITORY}" in done.stdout
    assert (tmp_path / ".mlgov" / "keys" / "signing.pem").exists()


def test_readmes_policy_commands() -> None:
    (block,) = [match["text"] for match in _BLOCK.finditer(README) if "mlgov policy test" in match["text"]]
    block = block.replace("mlgov ", f"{sys.executable} -m governance.cli.main ")
    done = subprocess.run(
        ["bash", "-euc", block],
        capture_output=True,
        text=True,
        env=clean(),
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_readmes_server_line_has_the_options_that_the_demo_uses() -> None:
    (line,) = [line for line in README.splitlines() if line.startswith("mlflow server")]
    source = (ROOT / "governance" / "cli" / "stage" / "stage.py").read_text()
    for option in re.findall(r"--[a-z-]+", line):
        assert f'"{option}"' in source


def test_readme_shows_an_error_as_it_is() -> None:
    """Names in the example are names in the code and in the policy."""
    (example,) = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert "plugin.errors.BlockedModelError: load of model" in example
    policy = (ROOT / "policies" / "baseline.yaml").read_text()
    for name, rule in re.findall(r"\] ([a-z-]+)/([a-z-]+):", example):
        assert f"name: {name}" in policy
        assert f"id: {rule}" in policy


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run `make docs`"


def test_the_map_of_folders_is_whole() -> None:
    """README names each folder of the project."""
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    folders = {
        path.split("/")[0] for path in tracked.splitlines() if "/" in path and not path.startswith(".")
    }
    assert not [folder for folder in folders if f"`{folder}/`" not in README]
