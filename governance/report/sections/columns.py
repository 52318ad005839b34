"""The columns that several tables have, each said once: its key in files of values, its heading, and how its cells are read."""

from __future__ import annotations

from governance.report.book import CellKind, Column

ACTION = Column("action", "Action", CellKind.WORD)
ACTOR = Column("actor", "Who")
ARTIFACT = Column("artifact", "Artifact")
ARTIFACTS = Column("artifacts", "Artifacts", CellKind.NUMBER)
AT = Column("at", "Time", CellKind.TIME)
BUNDLE = Column("bundle", "Bundle", CellKind.DIGEST)
BY = Column("by", "By")
DECISION = Column("id", "Decision", CellKind.ID)
DECISIONS = Column("decisions", "Decisions", CellKind.NUMBER)
DIGEST = Column("digest", "Bytes", CellKind.DIGEST)
EFFECT = Column("effect", "Effect", CellKind.WORD)
ENTRY = Column("entry", "Entry", CellKind.NUMBER)
ENVIRONMENT = Column("environment", "Environment", CellKind.NAME)
EVENT = Column("event", "Event", CellKind.WORD)
FILES = Column("files", "Files", CellKind.NUMBER)
FIRST = Column("first", "First", CellKind.TIME)
KEY = Column("key_id", "Key", CellKind.DIGEST)
KIND = Column("kind", "Kind", CellKind.WORD)
LAST = Column("last", "Last", CellKind.TIME)
MODE = Column("mode", "Mode", CellKind.WORD)
NAME = Column("name", "Name")
OUTCOME = Column("outcome", "Outcome", CellKind.WORD)
POLICY = Column("policy", "Policy", CellKind.DIGEST)
POLICY_TEXT = Column("digest", "Policy", CellKind.DIGEST)
REASON = Column("reason", "Reason")
REGISTERED = Column("registered", "Registered as", CellKind.ID)
RESULT = Column("result", "Result", CellKind.WORD)
REVISION = Column("revision", "Revision", CellKind.NUMBER)
ROOT = Column("root", "Root", CellKind.DIGEST)
RULE = Column("rule", "Rule", CellKind.ID)
RULES = Column("rules", "Rules", CellKind.ID)
SIZE = Column("size", "Size", CellKind.SIZE)
TICKET = Column("ticket", "Ticket", CellKind.ID)
TREE_SIZE = Column("size", "Entries", CellKind.NUMBER)
UNTIL = Column("expires", "Until", CellKind.TIME)
VERSION = Column("version", "Version", CellKind.ID)
WAIVER = Column("waiver", "Waiver", CellKind.ID)
WHAT = Column("what", "What")

NO_DECISION = "No decision was recorded in the period."
NO_OBJECTION = "No rule objected to anything in the period."
"""What is said in place of an empty table."""
