"""The download block: what Xray's policies keep Artifactory from handing out.

Promises that a file is scanned before it is served when a rule could block it. Does not hold a request until a scan ends,
as a real server does for up to a minute: an unscanned file is refused at once.
"""

from __future__ import annotations

from governance.devserver.findings import judged_issues
from governance.devserver.items import Item
from governance.devserver.platform import Platform
from governance.devserver.problems import Problem


async def refuse_blocked(platform: Platform, item: Item) -> None:
    """Raise 403 in the words of a real server where a rule blocks the file."""
    watching = platform.watching
    if not watching.may_block(item):
        return
    scan = await platform.scans.look(item)
    if scan.findings is None:
        blocked = watching.blocks_unscanned(item)
    else:
        blocked = any(found.blocks for found in watching.violations(item, scan, judged_issues(item, scan)))
    if blocked:
        raise Problem(
            403,
            f"Artifact download request rejected: {item.path} was not downloaded due to the download blocking policy"
            f" configured in Xray for {item.repo}.",
        )
