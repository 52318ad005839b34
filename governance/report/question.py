"""What a blast radius is asked about, told from its text: a digest, a package, an advisory, or else a model's name."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from governance.model.digest import parse_digest, parse_sha256
from governance.report.contents import ADVISORY, normal_advisory, purl_forms
from governance.report.selection_text import SelectionError
from governance.report.words import hex_part, registered_name

_DIGEST_KIND = re.compile(r"dirhash1|sha[0-9]+|md5|blake[0-9][a-z0-9]*", re.IGNORECASE)
_DIGEST_LIKE = re.compile(r"[0-9A-Fa-f]{64}")
_ADVISORY_LIKE = ("CVE-", "GHSA-", "PYSEC-", "XRAY-")
_OF_SCANNERS = ("CVE-", "XRAY-")


class What(enum.StrEnum):
    """The sort of a question."""

    DIGEST = "digest"
    PACKAGE = "package"
    ADVISORY = "advisory"
    MODEL = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked about, as it was written and in the form in which it is compared."""

    what: What
    text: str
    normal: str

    @property
    def may_be_called_otherwise(self) -> bool:
        """Whether it is the id of an advisory that scanners may know by another one: an alias that no scanner named is not on
        record, and nobody was there to look it up."""
        return self.what is What.ADVISORY and not self.normal.startswith(_OF_SCANNERS)


def parse_question(text: str) -> Question:
    """Tell what is meant. Raises `SelectionError` for what begins like one of these and is none."""
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if colon and _DIGEST_KIND.fullmatch(kind):
        # In any case, and of kinds that are not on record: as a model's name it finds nothing.
        try:
            return Question(
                what=What.DIGEST, text=text, normal=hex_part(parse_digest(f"{kind.lower()}:{rest}"))
            )
        except ValueError as error:
            raise SelectionError(str(error), hint="`sha256:HEX`, `dirhash1:HEX` or 64 hex digits.") from None
    if _DIGEST_LIKE.fullmatch(text):
        return Question(what=What.DIGEST, text=text, normal=parse_sha256(text))
    if text.lower().startswith("pkg:"):
        forms = purl_forms(text)
        if not forms:
            raise SelectionError(
                f"`{text[:80]}` is not a package URL",
                hint="Such as `pkg:pypi/numpy` or `pkg:pypi/numpy@1.26.4`.",
            )
        return Question(what=What.PACKAGE, text=text, normal=forms[0])
    if ADVISORY.fullmatch(text):
        return Question(what=What.ADVISORY, text=text, normal=normal_advisory(text))
    if text.upper().startswith(_ADVISORY_LIKE):
        raise SelectionError(f"`{text[:80]}` is not the id of an advisory", hint="Such as `CVE-2025-32434`.")
    if not text:
        raise SelectionError("an empty name matches nothing")
    return Question(what=What.MODEL, text=text, normal=_model_name(text))


def _model_name(text: str) -> str:
    """A name as it is on record: of MLflow's addresses what stands behind `models:/`. Any other address is on record nowhere."""
    name = registered_name(text)
    if "://" in name:
        raise SelectionError(
            f"`{text[:80]}` is an address, by which no entry is found",
            hint="Ask for a registered model's name, for `REPOSITORY/PATH`, or for a digest.",
        )
    return name.rstrip("/") or name
