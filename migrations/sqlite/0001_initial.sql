-- The whole schema of the first version, as in ../postgres, for the embedded edition.
--
-- What SQLite does not have is kept so: a moment (`…_at`) as INTEGER, milliseconds since 1970; an id as the 16
-- bytes of the UUID, which sort as Postgres sorts them and are less than half as long as their text, in each row
-- and again in each index; a list of users as JSON. STRICT refuses values of another type, as Postgres does.
-- Postgres takes no NUL in text and SQLite would, to read it back cut short in places: the checks refuse it here too.
--
-- WITHOUT ROWID keeps a table in the order of its primary key: what is read together lies together.

CREATE TABLE channels (
    id                 BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    kind               TEXT    NOT NULL CHECK (kind IN ('direct', 'group')),
    name               TEXT    CHECK (instr(name, char(0)) = 0),
    -- Both user ids of a direct channel, sorted, separated by a space (which no user id has).
    direct_pair        TEXT    UNIQUE,
    last_seq           INTEGER NOT NULL DEFAULT 0,
    membership_version INTEGER NOT NULL DEFAULT 1,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    CHECK ((kind = 'direct') = (direct_pair IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE participants (
    channel_id BLOB    NOT NULL REFERENCES channels (id),
    user_id    TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at  INTEGER NOT NULL,
    -- The channel's last seq when the user joined: earlier entries are history, not news.
    joined_seq INTEGER NOT NULL,
    read_seq   INTEGER NOT NULL,
    PRIMARY KEY (channel_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX participants_by_user ON participants (user_id, channel_id);

-- The log. `content` is a message's text or a channel's new name; `metadata` is the sender's JSON, byte for
-- byte, hence text; `user_ids` belongs to membership entries.
CREATE TABLE entries (
    channel_id        BLOB    NOT NULL,
    seq               INTEGER NOT NULL,
    id                BLOB    NOT NULL CHECK (length(id) = 16),
    type              TEXT    NOT NULL,
    sender_id         TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    kind              TEXT    CHECK (instr(kind, char(0)) = 0),
    content           TEXT    CHECK (instr(content, char(0)) = 0),
    metadata          TEXT    CHECK (instr(metadata, char(0)) = 0),
    client_message_id TEXT,
    user_ids          TEXT,
    PRIMARY KEY (channel_id, seq)
) STRICT, WITHOUT ROWID;

-- Idempotency, for ever.
CREATE UNIQUE INDEX entries_by_client_message ON entries (channel_id, sender_id, client_message_id)
    WHERE client_message_id IS NOT NULL;

CREATE TABLE devices (
    user_id            TEXT    NOT NULL,
    device_id          TEXT    NOT NULL,
    platform           TEXT    NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    installation_id    TEXT    CHECK (instr(installation_id, char(0)) = 0),
    registration_token TEXT    CHECK (instr(registration_token, char(0)) = 0),
    -- A push's verdict about a target counts only while the target is the one that was pushed to.
    target_version     INTEGER NOT NULL DEFAULT 1,
    disabled_at        INTEGER,
    disabled_reason    TEXT    CHECK (instr(disabled_reason, char(0)) = 0),
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id),
    CHECK ((installation_id IS NULL) <> (registration_token IS NULL))
) STRICT, WITHOUT ROWID;

-- A target belongs to one user at a time.
CREATE UNIQUE INDEX devices_by_installation ON devices (installation_id) WHERE installation_id IS NOT NULL;
CREATE UNIQUE INDEX devices_by_registration ON devices (registration_token) WHERE registration_token IS NOT NULL;

-- Pushes to make. Whoever takes a job moves `due_at` into the future; that is its lease.
CREATE TABLE push_jobs (
    -- AUTOINCREMENT: the id of a job that is done must not become another's, or a late verdict would end that one.
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id       TEXT    NOT NULL,
    device_id     TEXT    NOT NULL,
    channel_id    BLOB    NOT NULL,
    seq           INTEGER NOT NULL,
    attempts      INTEGER NOT NULL DEFAULT 0,
    due_at        INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    failed_at     INTEGER,
    failed_reason TEXT    CHECK (instr(failed_reason, char(0)) = 0),
    -- An entry whose fan-out runs twice is pushed once.
    UNIQUE (channel_id, seq, user_id, device_id)
) STRICT;

CREATE INDEX push_jobs_due ON push_jobs (due_at) WHERE failed_at IS NULL;
