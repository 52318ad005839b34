"""An Artifactory and Xray compatible server for trial and tests, on one port of this machine.

Promises to answer as real clients need it (`docs/embedded-server.md` has the matrix) and to share no code with ours. Is not
a production store: no replication, no backup, nothing flushed to disk.
"""

from governance.devserver.config import DevServerConfig, RepositorySpec, UserSpec
from governance.devserver.faults import Fault, hostile_listing, too_many, unavailable, wrong_checksums
from governance.devserver.scans import Status
from governance.devserver.server import DevServer, serve

__all__ = [
    "DevServer",
    "DevServerConfig",
    "Fault",
    "RepositorySpec",
    "Status",
    "UserSpec",
    "hostile_listing",
    "serve",
    "too_many",
    "unavailable",
    "wrong_checksums",
]
