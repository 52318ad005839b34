"""The one way out of the process: HTTP to Artifactory and Xray.

Promises: the token goes to its own origin only; every wait and every body is bounded; what fails is a
`governance.errors.RemoteError` whose message holds no token, query string or user information. Does not: know any
service's interface.
"""

from governance.transport.answer import Answer, StreamedResponse
from governance.transport.body import Readable
from governance.transport.client_certificate import ClientCertificate
from governance.transport.credentials import Credentials
from governance.transport.session import Transport

__all__ = ["Answer", "ClientCertificate", "Credentials", "Readable", "StreamedResponse", "Transport"]
