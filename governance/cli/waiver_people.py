"""Who signs a step of a waiver, and the register that it belongs to."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from governance.errors import ConfigurationError, KeyFileError

if TYPE_CHECKING:
    from datetime import datetime

    from governance.audit.log import AuditLog
    from governance.signing.keyholder import Signer
    from governance.waivers.settling import Register, Settled
    from governance.waivers.steps import SignedStep, Step, StepFile
    from governance.wiring import Assembly


class _Any:
    """Holds every name: what does not suit the policy keeps nobody from revoking it, nor one after the other."""

    def __contains__(self, name: object) -> bool:
        return True


ANY = _Any()


class WaiverError(ConfigurationError):
    """A step that cannot be taken, or a waiver that is not there."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the verbs work with: the parts of this process, the policy files, and now."""

    assembly: Assembly
    paths: tuple[Path, ...]
    now: datetime

    def register(self, *, revoked: Container[str] | None = None) -> Register:
        """The waivers of the files, settled; `revoked` as in `load_policies`."""
        return self.assembly.register(self.paths, revoked=revoked)

    def log(self) -> AuditLog | None:
        """The audit log, if there is one here: reading is no reason to make it, and a server's is read at the server."""
        is_here = self.assembly.settings.audit_url is None and self.assembly.has_log
        return self.assembly.log if is_here else None

    def signer(self) -> tuple[Signer, str]:
        """The configured key, and whose it is by the trust file. Raises `KeyFileError`."""
        signer = self.assembly.signer
        if signer is None:
            raise KeyFileError(
                "a step of a waiver is signed, and there is no key to sign with",
                hint="`mlgov keys init` makes one; or set `MLGOV_KEY`.",
            )
        for key in self.assembly.trust.keys:
            if key.key_id == signer.key_id:
                return signer, key.name
        raise KeyFileError(
            f"your key {signer.key_id[:16]} is not in the trust file `{self.assembly.settings.trust_file}`, so nobody "
            "would believe its signature",
            hint="Ask whoever keeps the trust file for `mlgov trust add FILE --name YOU --role waiver`, or set `MLGOV_TRUST`.",
        )

    def find(self, name: str, *, revoked: Container[str] | None = None) -> Settled:
        """A waiver by name. Raises `WaiverError`, naming those that there are."""
        register = self.register(revoked=revoked)
        found = register.find(name)
        if found is not None:
            return found
        known = ", ".join(f"`{each.waiver.name}`" for each in register.waivers[:10]) or "none at all"
        raise WaiverError(
            f"there is no waiver `{name}` among the policy files; there is {known}",
            hint="`mlgov waiver list` shows them; `--path` says where to look.",
        )

    def take(self, settled: Settled, step: Step, *, reason: str | None) -> Path:
        """Sign a step, see that it counts, write it beside the waiver and record it. Raises `WaiverError`."""
        from governance.collect.extensions import catalogue
        from governance.policy.load import load_policies
        from governance.waivers.files import read_steps
        from governance.waivers.memory import record_step
        from governance.waivers.settling import settle
        from governance.waivers.steps import Step, StepFile, sign_step, step_name, terms_of
        from governance.waivers.writing import find_document, write_step

        signer, by = self.signer()
        waiver = settled.waiver
        data = sign_step(terms_of(waiver), step, signer=signer, by=by, at=self.now, reason=reason)
        file = StepFile(
            name=step_name(waiver.name, step, signer.key_id), waiver=waiver.name, step=step, data=data
        )
        document = find_document(self.paths, waiver.name)
        if document is None:
            raise WaiverError(f"the document of `{waiver.name}` is not among the policy files")
        after = settle(
            load_policies(self.paths, catalogue=catalogue(), revoked=ANY if step is Step.REVOKE else None),
            (*read_steps(self.paths), file),
            trust=self.assembly.trust,
            now=self.now,
            memory=self.assembly.waiver_memory(),
        ).find(waiver.name)
        counted, signed = self._counted(after, file)
        # On record first: a step that is known and not written can be signed again, the other way round it is lost.
        record_step(self.assembly.log, counted, signed, now=self.now)
        return write_step(document.parent, file)

    def _counted(self, after: Settled | None, file: StepFile) -> tuple[Settled, SignedStep]:
        """The step as a reader will count it. Raises `WaiverError` with why not."""
        mark = f"`{file.name}`: "
        for problem in after.problems if after is not None else ():
            if problem.startswith(mark):
                raise WaiverError(f"this would not count: {problem.removeprefix(mark)}")
        for step in after.steps if after is not None else ():
            if after is not None and step.file is file:
                return after, step
        raise WaiverError("this would not count")


@contextmanager
def desk(path: Path | None = None) -> Iterator[Desk]:
    """The desk for the policies in force, or those at `path`."""
    from governance.policy_wiring import policy_files
    from governance.settings import load_settings
    from governance.wiring import build_assembly

    settings = load_settings()
    paths = (path,) if path is not None else policy_files(settings)
    with closing(build_assembly(settings)) as assembly:
        yield Desk(assembly=assembly, paths=paths, now=assembly.now())
