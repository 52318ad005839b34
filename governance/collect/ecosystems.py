"""JFrog's words for kinds of packages, and the ecosystem of the catalogue that each stands for.

Artifactory says them as a repository's package type (`huggingfaceml`), Xray as the scheme of a component's id (`gav`) or as its
`pkg_type` (`Pypi`). Promises: a word that is not known here gives no ecosystem, and nothing is guessed from a part of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from governance.model.facts import Unknown

_ECOSYSTEMS: Final[Mapping[str, str]] = {
    "cargo": "cargo",
    "conda": "conda",
    "deb": "deb",
    "debian": "deb",
    "docker": "oci",
    "gav": "maven",
    "generic": "generic",
    "go": "golang",
    "gradle": "maven",
    "helmoci": "oci",
    "huggingface": "huggingface",
    "huggingfaceml": "huggingface",
    "machinelearning": "mlflow",
    "maven": "maven",
    "npm": "npm",
    "nuget": "nuget",
    "oci": "oci",
    "pypi": "pypi",
    "python": "pypi",
    "rpm": "rpm",
    "yum": "rpm",
}


def ecosystem_of(word: str) -> str | Unknown:
    """Whose rules spell the names and versions of such packages."""
    return _ECOSYSTEMS.get(word.lower()) or Unknown("a type of package not known here")
