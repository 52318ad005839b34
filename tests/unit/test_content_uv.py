"""What a uv project inside a model stands for: MLflow installs by its lock alone, whatever the other files say."""

from __future__ import annotations

import pytest

from governance.content.dependencies import Declared, declaring, read_declared
from governance.model.facts import Collection
from tests.unit.collect_kit import CLEAN, Edge

PYPI = 'registry = "https://pypi.org/simple"'
AT = "https://files.pythonhosted.org/packages/3d/d9"


def lock(
    *,
    source: str = PYPI,
    files: str = f'wheels = [\n    {{ url = "{AT}/PyYAML-5.3-cp311-cp311-linux_x86_64.whl" }},\n]',
) -> bytes:
    return f"""version = 1
requires-python = ">=3.11"
resolution-markers = [
    "python_full_version >= '3.12' and sys_platform == 'win32'",
]

[[package]]
name = "mine"
version = "0.1.0"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "pyyaml", marker = "python_full_version >= '3.11.2'" }},
]

[package.metadata]
requires-dist = [{{ name = "pyyaml", specifier = ">=5.3.0,<6" }}]

[[package]]
name = "pyyaml"
version = "5.3"
source = {{ {source} }}
{files}
""".encode()


def declared(found: Declared) -> list[tuple[str, str | None]]:
    return [(each.name, each.version) for each in found.packages]


@pytest.mark.parametrize(
    "files",
    [
        f'wheels = [\n    {{ url = "{AT}/PyYAML-5.3-cp311-cp311-linux_x86_64.whl" }},\n]',
        f'sdist = {{ url = "{AT}/PyYAML-5.3.tar.gz", hash = "sha256:00", size = 1 }}',
        "",
    ],
)
def test_what_a_lock_names_is_installed(files: str) -> None:
    found = read_declared("uv.lock", lock(files=files))
    assert declared(found) == [("pyyaml", "5.3")]
    assert found.problems == ()


@pytest.mark.parametrize(
    ("source", "files"),
    [
        (PYPI, 'sdist = { url = "https://me:s3cret@evil.example/PyYAML-5.3.tar.gz?s3cret" }'),
        (PYPI, 'wheels = [\n    { path = "PyYAML-5.3-py3-none-any.whl" },\n]'),
        (PYPI, f'sdist = {{ url = "{AT}/evil-5.3.tar.gz" }}'),
        (PYPI, f'sdist = {{ url = "{AT}/PyYAML-5.4.tar.gz" }}'),
        (
            PYPI,
            f'wheels = [\n    {{ url = "{AT}/PyYAML-5.3-py3-none-any.whl" }},\n    {{ url = "{AT}.evil/x" }},\n]',
        ),
        (PYPI, "wheels = 5"),
        ('git = "https://me:s3cret@evil.example/x?rev=s3cret#00"', ""),
        ('directory = "code"', ""),
        (f'{PYPI}, url = "https://evil.example/x"', ""),
    ],
)
def test_a_package_whose_bytes_come_from_elsewhere_has_no_version(source: str, files: str) -> None:
    found = read_declared("uv.lock", lock(source=source, files=files))
    assert declared(found) == [("pyyaml", None)]
    assert found.packages[0].asked.startswith(" @ ")
    assert "s3cret" not in repr(found)


def test_another_index_is_a_problem() -> None:
    found = read_declared("uv.lock", lock(source='registry = "https://evil.example/simple"'))
    assert declared(found) == [("pyyaml", "5.3")]
    assert found.problems == ("packages may come from another index",)


@pytest.mark.parametrize(
    "data",
    [
        b"a" + b".a" * 500_000 + b" = 1\n",
        b'"".' * 300_000 + b"a = 1\n",
        b"x = { " + b"'a'." * 100 + b"a = 1 }\n",
        b"package = 5\n",
        b"[[package]]\nname = 'a'\n",
        b'[[package]]\nname = "a"\n',
        b'[[package]]\nname = "a b"\nversion = "1"\nsource = { registry = "https://pypi.org/simple" }\n',
        b'[[package]]\nname = "a"\nversion = "secret"\nsource = { registry = "https://pypi.org/simple" }\n',
        b"x = " + b"[" * 100_000,
        b"=",
    ],
)
def test_a_lock_that_uv_did_not_write_is_a_problem(data: bytes) -> None:
    found = read_declared("uv.lock", data)
    assert found.packages == ()
    (problem,) = found.problems
    assert problem.startswith("uv.lock cannot be read: ")
    assert "secret" not in problem


def test_what_a_project_is_built_with_is_installed_too() -> None:
    text = """
[project]
name = "mine"
dependencies = ["left-to-the-lock>=1"]
[build-system]
requires = ["Hatchling>=1.2", "setuptools", "evil_builder==1.0"]
[tool.uv.extra-build-dependencies]
other = ["worse==2"]
"""
    found = read_declared("pyproject.toml", text.encode())
    assert declared(found) == [("evil-builder", "1.0"), ("worse", "2")]
    assert found.problems == ()


@pytest.mark.parametrize(
    "setting",
    [
        'index-url = "https://x"',
        'find-links = ["x"]',
        '[[tool.uv.index]]\nurl = "https://x"',
        'sources = {a = {path = "x"}}',
    ],
)
def test_a_project_with_an_index_of_its_own_is_a_problem(setting: str) -> None:
    found = read_declared("pyproject.toml", f"[tool.uv]\n{setting}\n".encode())
    assert found.problems == ("packages may come from another index",)


@pytest.mark.parametrize(
    "data", [b"a" + b".a" * 30_000 + b" = 1", b'"\xe2\x80\xa8".a.a.a.' * 5_000 + b"a = 1", b"#" * 70_000, b"tool = 5", b"[build-system]\nrequires = [5]"]
)  # fmt: skip
def test_a_project_that_cannot_be_read_is_a_problem(data: bytes) -> None:
    (problem,) = read_declared("pyproject.toml", data).problems
    assert problem.startswith("pyproject.toml cannot be read: ")


def test_a_project_without_a_lock_beside_it_declares_nothing() -> None:
    assert declaring(["code/pyproject.toml", "pyproject.toml", "a.txt", "UV.lock", "MLmodel"]) == [
        "pyproject.toml",
        "UV.lock",
        "MLmodel",
    ]


def test_advisories_about_what_a_lock_names_are_the_models(edge: Edge) -> None:
    edge.put({**CLEAN, "uv.lock": lock()})
    packages, advisories = edge.facts("dependencies")["dependencies"], edge.facts("xray")["vulnerabilities"]
    assert isinstance(packages, Collection)
    assert isinstance(advisories, Collection)
    assert "pkg:pypi/pyyaml@5.3" in {row["purl"] for row in packages.items}
    assert "critical" in {row["severity"] for row in advisories.items}
