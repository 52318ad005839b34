-- The tables of a log of version 1, as they were made then. Never changed: logs in the field are so.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    correlation TEXT NOT NULL,
    leaf BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX entry_subject ON entry (subject, kind);
CREATE INDEX entry_correlation ON entry (correlation, kind);
CREATE INDEX entry_kind ON entry (kind);
-- The hashes of every 256 neighbouring nodes of one level and of the 7 levels above them; `root` is the level above that.
CREATE TABLE tile (
    level INTEGER NOT NULL,
    number INTEGER NOT NULL,
    root BLOB NOT NULL,
    nodes BLOB NOT NULL,
    PRIMARY KEY (level, number)
) STRICT;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, frontier BLOB NOT NULL) STRICT;
INSERT INTO head VALUES (1, 0, x'');
CREATE TABLE evidence (
    sha256 TEXT PRIMARY KEY, category TEXT NOT NULL, at TEXT NOT NULL, size INTEGER NOT NULL, body BLOB
) STRICT;
CREATE TRIGGER entry_update BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER entry_delete BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;
CREATE TRIGGER tile_update BEFORE UPDATE ON tile BEGIN SELECT RAISE(ABORT, 'tiles are never changed'); END;
CREATE TRIGGER tile_delete BEFORE DELETE ON tile BEGIN SELECT RAISE(ABORT, 'tiles are never removed'); END;
CREATE TRIGGER head_update BEFORE UPDATE ON head WHEN NEW.size < OLD.size
    BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
CREATE TRIGGER head_delete BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the head is never removed'); END;
CREATE TRIGGER evidence_update BEFORE UPDATE ON evidence
    WHEN NEW.sha256 <> OLD.sha256 OR (OLD.body IS NOT NULL AND NEW.body IS NOT NULL)
    BEGIN SELECT RAISE(ABORT, 'evidence is only erased'); END;
CREATE TRIGGER evidence_delete BEFORE DELETE ON evidence
    BEGIN SELECT RAISE(ABORT, 'digests of evidence are never removed'); END;
