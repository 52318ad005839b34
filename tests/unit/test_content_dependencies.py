"""What declarations of packages mean, and that nothing of them is lost in silence."""

from __future__ import annotations

import pytest

from governance.content.dependencies import Package, merge, read_declared, read_requirements

LINES = [
    ("mlflow==3.17.2", "mlflow", "3.17.2"),
    ("Scikit_Learn == 1.5.0  # comment", "scikit-learn", "1.5.0"),
    ("torch==2.1.0+cu118", "torch", "2.1.0+cu118"),
    ("requests[socks]==2.31.0 ; python_version < '3.12'", "requests", "2.31.0"),
    ("numpy===1.26.4", "numpy", "1.26.4"),
    ("pandas==2.0.0 --hash=sha256:abcd", "pandas", "2.0.0"),
    ("scipy>=1.0,==1.11.1", "scipy", "1.11.1"),
    ("cloudpickle", "cloudpickle", None),
    ("psutil>=5,<7", "psutil", None),
    ("xgboost==2.*", "xgboost", None),
    ("evil @ https://evil.example/evil-1.0.whl?token=x", "evil", None),
]


@pytest.mark.parametrize(("line", "name", "version"), LINES)
def test_a_line_of_requirements(line: str, name: str, version: str | None) -> None:
    found = read_requirements([line])
    assert [(each.ecosystem, each.name, each.version) for each in found.packages] == [("pypi", name, version)]
    assert found.problems == ()
    assert "token" not in repr(found)


NOT_NAMED = [
    "-e git+https://github.com/x/y#egg=z", "https://evil.example/evil.whl", "./local.whl", "file:///etc/passwd", "==1.0",
    "name==", "a b c", "-c constraints.txt", "--index-url https://evil.example/simple", "--extra-index-url=https://x",
    "-f https://x", "$(rm -rf /)",
]  # fmt: skip


@pytest.mark.parametrize("line", NOT_NAMED)
def test_what_is_no_named_package_is_a_problem(line: str) -> None:
    found = read_requirements([line])
    assert found.packages == ()
    assert len(found.problems) == 1


def test_lines_are_joined_and_comments_dropped() -> None:
    found = read_requirements(["# all", "", "a==1 \\", "  --hash=sha256:ab \\", "  --hash=sha256:cd", "b==2"])
    assert [(each.name, each.version) for each in found.packages] == [("a", "1"), ("b", "2")]


HIDING = [
    b"# all \\\nevil==1\n",
    b"  # all \\\nevil==1\n",
    b"a==1 \\\n# all \\\nevil==1\n",
    b"a==1 # all\\\\\n\nevil==1\n",
    b"a==1\n# all\revil==1\n",
]


@pytest.mark.parametrize("data", HIDING, ids=range(len(HIDING)))
def test_no_line_is_hidden_behind_a_comment_that_pip_ends_before(data: bytes) -> None:
    found = read_declared("requirements.txt", data)
    assert [each.name for each in found.packages if each.name != "a"] == ["evil"]


@pytest.mark.parametrize(
    "first", [b"# coding: utf-7\n", b"\xef\xbb\xbf# -*- coding=UTF-7 -*-\n", b"a\n#coding:latin-1\n"]
)
def test_a_file_that_pip_reads_in_another_encoding_is_a_problem(first: bytes) -> None:
    """`+AAo-` is the end of a line in UTF-7."""
    found = read_declared("requirements.txt", first + b"# +AAo-evil==1\n")
    assert found.problems == ("requirements.txt says that it is not UTF-8",)
    assert not read_declared("requirements.txt", b"# coding: UTF-8\na==1\n").problems


@pytest.mark.parametrize(
    "name",
    [
        "-r=more.txt",
        "-r 'more.txt'",
        "-r mo''re.txt",
        "-r https://evil.example/more.txt",
        "-r ${X}more.txt",
        "-r mo\\re.txt",
    ],
)
def test_a_file_whose_name_pip_reads_otherwise_is_a_problem(name: str) -> None:
    found = read_requirements([name])
    assert (found.files, len(found.problems)) == ((), 1)


def test_each_line_of_a_row_is_a_requirement() -> None:
    found = read_declared("conda.yaml", b'dependencies:\n- pip: ["a==1 #\\revil==1", "b==1 #\\nworse==1"]\n')
    assert [each.name for each in found.packages] == ["a", "b", "evil", "worse"]


def test_a_tool_from_an_address_is_a_package() -> None:
    found = read_requirements(["setuptools @ https://evil.example/x.whl", "wheel==0.45.1"])
    assert [(each.name, each.asked) for each in found.packages] == [
        ("setuptools", " @ https://evil.example/x.whl")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "a @ https://me:s3cret@host.example/a.whl",
        "-e git+https://s3cret@host.example/a",
        "https://me:s3cret@h/a",
    ],
)
def test_passwords_of_addresses_are_not_repeated(line: str) -> None:
    found = read_requirements([line])
    assert "https://" in repr(found)
    assert "s3cret" not in repr(found)


def test_other_files_are_named() -> None:
    found = read_requirements(["-r more.txt", "--requirement=other.txt"])
    assert found.files == ("more.txt", "other.txt")
    assert found.problems == ()


CONDA = b"""
channels: [conda-forge]
dependencies:
- python=3.11.4
- pip<=23.2
- numpy=1.26.4=py311h64a7726_0
- conda-forge::libgomp
- blas>=1.0
- pip:
  - mlflow==3.17.2
  - Evil_Pkg==1.0
name: mlflow-env
"""


def test_conda() -> None:
    found = read_declared("conda.yaml", CONDA)
    assert [each.purl for each in found.packages] == [
        "pkg:conda/blas",
        "pkg:conda/libgomp",
        "pkg:conda/numpy@1.26.4",
        "pkg:pypi/evil-pkg@1.0",
        "pkg:pypi/mlflow@3.17.2",
    ]
    assert found.problems == ()


SPECS = [
    ("a==1.2", "1.2"), ("a == 1.2", "1.2"), ("a 1.2", "1.2"), ("a 1.2 py311_0", "1.2"), ("a=1.2=py311_0", "1.2"),
    ("a==1.2=py311_0", "1.2"), ("a=1.2", None), ("a=1.2.*", None), ("a=1.2*", None), ("a==1.2.*", None), ("a>=1.2", None),
    ("a=1.2|1.3", None), ("a 1.2|1.3", None), ("a ==1.2,<2", None), ("a[version=1.2]", None), ("a", None), ("a=1.2=", None),
    ("a !=1.2", None), ("A==1.2", "1.2"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "version"), SPECS)
def test_a_version_of_conda_is_exact_where_conda_takes_it_so(row: str, version: str | None) -> None:
    """`a=1.2` is conda's for any version that begins with 1.2, unless a build follows."""
    (found,) = read_declared("conda.yaml", f"dependencies:\n- {row!r}\n".encode()).packages
    assert (found.purl, found.version) == ("pkg:conda/a" + (f"@{version}" if version else ""), version)
    assert found.version or found.asked == row.removeprefix("a").strip()


CHANNELS = [
    ("channels: [conda-forge, defaults, nodefaults]", "a==1", 0),
    ("channels: [conda-forge/linux-64]", "conda-forge/noarch::a==1", 0),
    ("channels: [pytorch]", "a==1", 1),
    ("channels: [conda-forge, 'https://me:s3cret@evil.example/c']", "a==1", 1),
    ("channels: [conda-forge/label/broken]", "a==1", 1),
    ("channels: [{a: b}]", "a==1", 1),
    ("channels: []", "pytorch::a==1", 1),
    ("channels: []", "https://evil.example/c::a==1", 1),
]


@pytest.mark.parametrize(("channels", "row", "count"), CHANNELS)
def test_another_channel_of_conda_is_a_problem(channels: str, row: str, count: int) -> None:
    """As another index is for pip's: under any name there may be anything."""
    found = read_declared("conda.yaml", f"{channels}\ndependencies:\n- {row}\n".encode())
    assert [each.purl for each in found.packages] == ["pkg:conda/a@1"]
    assert len(found.problems) == count
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("line", "version"),
    [("a==v1.0", "1.0"), ("a==01.0", "1.0"), ("a==1.0-1", "1.0.post1"), ("a===v1.0", "v1.0")],
)
def test_a_version_is_spelt_as_releases_are(line: str, version: str) -> None:
    """pip takes `==v1.0` for 1.0. Whoever lists bad versions lists them under that name."""
    assert read_requirements([line]).packages[0].version == version


@pytest.mark.parametrize(
    "line", ["evil.zip", "evil.tar.gz", "evil.whl[extra]", "evil.zip ; python_version > '3'", "E.TGZ"]
)
def test_a_name_that_pip_takes_for_a_file_is_a_problem(line: str) -> None:
    found = read_requirements([line])
    assert (found.packages, len(found.problems)) == ((), 1)


def test_a_key_does_not_turn_the_rows_of_conda_into_those_of_pip() -> None:
    text = b"python: 3.11\ndependencies:\n- evil==1\n- pip: [b==2]\n"
    found = read_declared("conda.yaml", text)
    assert [each.purl for each in found.packages] == ["pkg:conda/evil@1", "pkg:pypi/b@2"]
    either = read_declared("env.yaml", text)
    assert {"pkg:conda/evil@1", "pkg:pypi/evil@1", "pkg:pypi/b@2"} == {each.purl for each in either.packages}
    rows = b"dependencies: [evil==1]\n"
    assert [each.purl for each in read_declared("python_env.yaml", rows).packages] == ["pkg:pypi/evil@1"]
    assert [each.purl for each in read_declared("conda.yaml", rows).packages] == ["pkg:conda/evil@1"]


@pytest.mark.parametrize(
    "env",
    ["python_env.yaml", "{conda: python_env.yaml}", "{virtualenv: conda.yaml}", "{virtualenv: x/conda.yaml}"],
)
def test_a_model_that_mixes_its_environments_up_is_a_problem(env: str) -> None:
    found = read_declared("MLmodel", f"flavors: {{python_function: {{env: {env}}}}}\n".encode())
    assert (len(found.files), len(found.problems)) == (1, 1)
    usual = b"flavors: {python_function: {env: {conda: conda.yaml, virtualenv: python_env.yaml}}}\n"
    assert read_declared("MLmodel", usual).problems == ()


def test_virtualenv() -> None:
    text = (
        b"python: 3.11.4\nbuild_dependencies:\n- pip==23.2\n- evil==1\ndependencies:\n- -r requirements.txt\n"
    )
    found = read_declared("python_env.yaml", text)
    assert [each.name for each in found.packages] == ["evil"]
    assert found.files == ("requirements.txt",)


def test_the_model_names_its_environments() -> None:
    text = b"flavors:\n  python_function:\n    env: {conda: c.yaml, virtualenv: v.yaml}\n  sklearn: {env: s.yaml}\n"
    assert read_declared("m/MLmodel", text).files == ("c.yaml", "v.yaml", "s.yaml")


BROKEN = [
    ("conda.yaml", b"dependencies: [a, b", "no YAML from line 2 on (did not find expected"),
    ("conda.yaml", b"- a list", "not a mapping"),
    ("conda.yaml", b"dependencies: text", "not a list, or too long a one"),
    ("conda.yaml", b"dependencies:\n- pip: text", "not a list, or too long a one"),
    ("conda.yaml", b"channels: text", "not a list, or too long a one"),
    (
        "conda.yaml",
        b"!!python/object/apply:os.system [echo]",
        "no YAML from line 1 on (could not determine a constructor",
    ),
    ("conda.yaml", b"a: 1\nb: \x00\n", "it is not YAML"),
    ("python_env.yaml", b"\xff\xfe", "byte 0 is not UTF-8"),
    (
        "MLmodel",
        b"[" * (1 << 17),
        ("nested deeper than 40", "no YAML from line 1 on (exceeded maximum nesting depth"),
    ),
    ("conda.yaml", b"dependencies: [" + b"{a}," * 50_000 + b"]", "more values than are read"),
    *(("MLmodel", each * (1 << 17), "nested deeper than 40") for each in (b"- ", b"? ", b"{a: ")),
    ("requirements.txt", b"\x80\x81", "byte 0 is not UTF-8"),
]


@pytest.mark.parametrize(("name", "data", "why"), BROKEN, ids=range(len(BROKEN)))
def test_a_file_that_cannot_be_read_is_a_problem(name: str, data: bytes, why: str | tuple[str, ...]) -> None:
    found = read_declared(name, data)
    assert found.packages == ()
    (problem,) = found.problems
    assert problem.removeprefix(f"{name} cannot be read: ").startswith(why)


@pytest.mark.parametrize("name", ["MLmodel", "conda.yaml", "python_env.yaml"])
def test_aliases_do_not_explode(name: str) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    found = read_declared(name, ("\n".join(lines) + "\ndependencies: *a11\n").encode())
    assert len(found.packages) <= 10


@pytest.mark.parametrize("place", ["- pip: *a11", "- *a11", "- {npm: *a11}"])
@pytest.mark.parametrize("before", ["", "python: 3\n", "build_dependencies: *a11\n"])
def test_aliases_in_a_row_do_not_explode(place: str, before: str) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    text = "\n".join(lines) + f"\n{before}dependencies:\n{place}\n"
    found = read_declared("conda.yaml", text.encode())
    assert found.packages == ()
    assert found.problems


def test_one_list_named_a_thousand_times_is_too_long() -> None:
    rows = "".join(f"- a{number}\n" for number in range(100))
    text = f"rows: &rows\n{rows}dependencies:\n" + "- {pip: *rows}\n" * 51
    assert read_declared("conda.yaml", text.encode()).problems == (
        "conda.yaml cannot be read: too many rows",
    )


@pytest.mark.parametrize(
    ("row", "count"),
    [
        ("https://me:s3cret@evil.example/evil.conda", 0),
        ("/srv/evil.conda", 0),
        ("{npm: [evil]}", 0),
        ("{pip: [a==1], npm: [evil]}", 1),
        ("[evil]", 0),
        ("5", 0),
    ],
)
def test_a_row_of_conda_that_names_no_package_is_a_problem(row: str, count: int) -> None:
    found = read_declared("conda.yaml", f"dependencies:\n- {row}\n".encode())
    assert (len(found.packages), len(found.problems)) == (count, 1)
    assert "s3cret" not in found.problems[0]


def test_merging_keeps_two_versions_and_drops_the_loose_one() -> None:
    parts = [read_requirements(["a==1", "b"]), read_requirements(["a==2", "A", "b==3", "b"])]
    assert [(each.name, each.version) for each in merge(parts).packages] == [
        ("a", "1"),
        ("a", "2"),
        ("b", None),
        ("b", "3"),
    ]


@pytest.mark.parametrize("line", ["pyyaml @ https://evil.example/pyyaml-6.0.1.zip", "pyyaml<=5.3", "pyyaml"])
def test_no_version_of_one_file_hides_what_another_leaves_open(line: str) -> None:
    """MLflow installs by one of them: which one, the loader's `env_manager` says."""
    pinned = read_declared("conda.yaml", b"dependencies: [{pip: [pyyaml==6.0.1]}]\n")
    for parts in ([read_requirements([line]), pinned], [pinned, read_requirements([line])]):
        assert [each.version for each in merge(parts).packages] == [None, "6.0.1"]


def test_no_version_hides_an_address() -> None:
    found = merge([read_requirements(["a==1", "a @ https://evil.example/a.zip", "a"])])
    assert [(each.version, each.asked) for each in found.packages] == [
        (None, " @ https://evil.example/a.zip"),
        ("1", "==1"),
    ]


def test_names_for_other_systems() -> None:
    package = Package(ecosystem="pypi", name="torch", version="2.1.0+cu118")
    assert package.purl == "pkg:pypi/torch@2.1.0%2Bcu118"
    assert package.component_id == "pypi://torch:2.1.0+cu118"
    assert Package(ecosystem="pypi", name="torch", version=None).component_id is None
