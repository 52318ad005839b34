"""Policy decisions, signatures and a tamper-evident audit trail for ML artifacts in Artifactory.

The one sentence: a *request* is made about an *artifact*; *collectors* turn the world into *facts*; the *policy*
turns request and facts into a *verdict*; the *gate* writes the verdict to the *audit log* and hands out a *permit*;
whoever asked *acts* under the permit; the *outcome* is written too.
"""

__version__ = "0.1.0"
