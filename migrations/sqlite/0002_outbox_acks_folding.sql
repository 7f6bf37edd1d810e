-- Nothing is lost, nothing comes twice: the outbox, delivered cursors, pushes that fold; as in ../postgres.

-- Which processes live. Mostly the one that has the file open.
CREATE TABLE api_servers (
    id          BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The intent to deliver: a row for each batch of entries, written with them, removed when their fan-out has ended.
-- `places` is JSON, `[[channel id in hex, first seq, last seq], …]`: what a batch stores in one channel has no gaps.
CREATE TABLE outbox (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    owner      BLOB    NOT NULL CHECK (length(owner) = 16),
    written_at INTEGER NOT NULL,
    places     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Up to here everything is on at least one device of the user.
ALTER TABLE participants ADD COLUMN delivered_seq INTEGER NOT NULL DEFAULT 0;
UPDATE participants SET delivered_seq = read_seq;

-- What a device is to be told of a channel: one row for ever, so that it is known what need not be told again.
DROP INDEX push_jobs_due;
ALTER TABLE push_jobs RENAME TO old_push_jobs;

CREATE TABLE push_jobs (
    -- AUTOINCREMENT: the id of a job that is gone must not become another's, or a late verdict would end that one.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       TEXT    NOT NULL,
    device_id     TEXT    NOT NULL,
    channel_id    BLOB    NOT NULL,
    -- What waits, or waited last.
    first_seq     INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    -- Up to here the device has been told, or needs not be: it has it, the user has read it, or pushing has failed.
    settled_seq   INTEGER NOT NULL DEFAULT 0,
    -- What the last one who took the job took of it.
    leased_seq    INTEGER NOT NULL DEFAULT 0,
    attempts      INTEGER NOT NULL DEFAULT 0,
    -- Null: nothing waits, and `settled_seq` has reached `seq`. Whoever takes a job moves it into the future; that is
    -- its lease.
    due_at        INTEGER,
    -- When the oldest of what waits began to wait.
    created_at    INTEGER NOT NULL,
    failed_at     INTEGER,
    failed_reason TEXT    CHECK (instr(failed_reason, char(0)) = 0),
    UNIQUE (user_id, channel_id, device_id)
) STRICT;

CREATE INDEX push_jobs_due ON push_jobs (due_at) WHERE due_at IS NOT NULL;

INSERT INTO push_jobs (user_id, device_id, channel_id, first_seq, seq, due_at, created_at)
SELECT user_id, device_id, channel_id, min(seq), max(seq), min(due_at), min(created_at)
FROM old_push_jobs WHERE failed_at IS NULL GROUP BY user_id, device_id, channel_id;
DROP TABLE old_push_jobs;
