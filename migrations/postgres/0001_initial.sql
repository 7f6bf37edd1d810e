-- The whole schema of the first version: channels, participants, entries, devices, push jobs.

-- Every message updates its channel's row. No index covers a column that changes, and half of each page is
-- kept free, so that the update stays within the page (HOT) and leaves no index entry behind.
CREATE TABLE channels (
    id                 uuid        PRIMARY KEY,
    kind               text        NOT NULL CHECK (kind IN ('direct', 'group')),
    name               text,
    -- Both user ids of a direct channel, sorted, separated by a space (which no user id has).
    direct_pair        text        COLLATE "C" UNIQUE,
    last_seq           bigint      NOT NULL DEFAULT 0,
    membership_version bigint      NOT NULL DEFAULT 1,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    CHECK ((kind = 'direct') = (direct_pair IS NOT NULL))
) WITH (fillfactor = 50);

CREATE TABLE participants (
    channel_id uuid        NOT NULL REFERENCES channels (id),
    user_id    text        COLLATE "C" NOT NULL,
    role       text        NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at  timestamptz NOT NULL,
    -- The channel's last seq when the user joined: earlier entries are history, not news.
    joined_seq bigint      NOT NULL,
    read_seq   bigint      NOT NULL,
    PRIMARY KEY (channel_id, user_id)
) WITH (fillfactor = 80);

CREATE INDEX participants_by_user ON participants (user_id, channel_id);

-- The log. `content` is a message's text or a channel's new name; `metadata` is the sender's JSON, byte for
-- byte, hence text; `user_ids` belongs to membership entries.
CREATE TABLE entries (
    channel_id        uuid        NOT NULL,
    seq               bigint      NOT NULL,
    id                uuid        NOT NULL,
    type              text        NOT NULL,
    sender_id         text        COLLATE "C" NOT NULL,
    created_at        timestamptz NOT NULL,
    kind              text,
    content           text,
    metadata          text,
    client_message_id text        COLLATE "C",
    user_ids          text[],
    PRIMARY KEY (channel_id, seq)
);

-- Idempotency, for ever.
CREATE UNIQUE INDEX entries_by_client_message ON entries (channel_id, sender_id, client_message_id)
    WHERE client_message_id IS NOT NULL;

CREATE TABLE devices (
    user_id            text        COLLATE "C" NOT NULL,
    device_id          text        COLLATE "C" NOT NULL,
    platform           text        NOT NULL CHECK (platform IN ('android', 'ios', 'web')),
    installation_id    text        COLLATE "C",
    registration_token text        COLLATE "C",
    -- A push's verdict about a target counts only while the target is the one that was pushed to.
    target_version     bigint      NOT NULL DEFAULT 1,
    disabled_at        timestamptz,
    disabled_reason    text,
    created_at         timestamptz NOT NULL,
    updated_at         timestamptz NOT NULL,
    PRIMARY KEY (user_id, device_id),
    CHECK (num_nonnulls(installation_id, registration_token) = 1)
);

-- A target belongs to one user at a time.
CREATE UNIQUE INDEX devices_by_installation ON devices (installation_id) WHERE installation_id IS NOT NULL;
CREATE UNIQUE INDEX devices_by_registration ON devices (registration_token) WHERE registration_token IS NOT NULL;

-- Pushes to make. Whoever takes a job moves `due_at` into the future; that is its lease.
CREATE TABLE push_jobs (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       text        COLLATE "C" NOT NULL,
    device_id     text        COLLATE "C" NOT NULL,
    channel_id    uuid        NOT NULL,
    seq           bigint      NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    due_at        timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    failed_at     timestamptz,
    failed_reason text,
    -- An entry whose fan-out runs twice is pushed once.
    UNIQUE (channel_id, seq, user_id, device_id)
);

CREATE INDEX push_jobs_due ON push_jobs (due_at) WHERE failed_at IS NULL;

-- Group commit: appends a batch of messages and says of each row what became of it.
--
-- One call is one statement for the client and several for the server: under READ COMMITTED each statement of
-- a function sees what was committed before it began. So the channels are locked first, and whatever is read
-- afterwards (participants, earlier client message ids, last_seq) is as of the lock. A single statement would
-- read with the snapshot from before it waited for the lock, and could store for a sender who has just been
-- removed or run into the unique key of a message that another server has just stored.
--
-- Rows come back in no particular order; `ord` is the row's place in the arguments, from 1. The caller sees to
-- it that no (channel, sender, client message id) stands twice in one batch.
CREATE FUNCTION append_messages(
    channel_ids        uuid[],
    sender_ids         text[],
    entry_ids          uuid[],
    kinds              text[],
    contents           text[],
    metadatas          text[],
    client_message_ids text[]
)
RETURNS TABLE (
    ord                bigint,
    verdict            text,
    entry_id           uuid,
    entry_seq          bigint,
    entry_created_at   timestamptz,
    entry_kind         text,
    entry_content      text,
    entry_metadata     text,
    membership         bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    -- One clock for all servers; cut to what the contract shows.
    now_ms timestamptz;
BEGIN
    PERFORM 1 FROM channels WHERE id = ANY (channel_ids) ORDER BY id FOR NO KEY UPDATE;
    now_ms := date_trunc('milliseconds', clock_timestamp());
    RETURN QUERY
    WITH input AS (
        SELECT *
        FROM unnest(channel_ids, sender_ids, entry_ids, kinds, contents, metadatas, client_message_ids)
            WITH ORDINALITY AS i (channel_id, sender_id, id, kind, content, metadata, client_message_id, ord)
    ), judged AS (
        SELECT i.*, c.last_seq, c.membership_version, earlier.seq AS earlier_seq,
               earlier.id AS earlier_id, earlier.created_at AS earlier_created_at, earlier.kind AS earlier_kind,
               earlier.content AS earlier_content, earlier.metadata AS earlier_metadata,
               CASE WHEN c.id IS NULL THEN 'no_such_channel'
                    WHEN p.user_id IS NULL THEN 'not_a_participant'
                    WHEN earlier.seq IS NOT NULL THEN 'earlier'
                    ELSE 'stored' END AS verdict
        FROM input i
        LEFT JOIN LATERAL (
            SELECT * FROM channels WHERE channels.id = i.channel_id LIMIT 1
        ) c ON true
        LEFT JOIN LATERAL (
            SELECT participants.user_id FROM participants
            WHERE participants.channel_id = i.channel_id AND participants.user_id = i.sender_id LIMIT 1
        ) p ON true
        LEFT JOIN LATERAL (
            SELECT * FROM entries e
            WHERE e.channel_id = i.channel_id AND e.sender_id = i.sender_id
              AND e.client_message_id = i.client_message_id LIMIT 1
        ) earlier ON true
    ), numbered AS (
        SELECT j.*, j.last_seq + row_number() OVER (PARTITION BY j.channel_id ORDER BY j.ord) AS seq
        FROM judged j WHERE j.verdict = 'stored'
    ), inserted AS (
        INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, metadata,
                             client_message_id)
        SELECT n.channel_id, n.seq, n.id, 'message', n.sender_id, now_ms, n.kind, n.content, n.metadata,
               n.client_message_id
        FROM numbered n
    ), advanced AS (
        UPDATE channels SET last_seq = newest.seq, updated_at = now_ms
        FROM (SELECT n.channel_id, max(n.seq) AS seq FROM numbered n GROUP BY n.channel_id) newest
        WHERE channels.id = newest.channel_id
    )
    SELECT j.ord, j.verdict, coalesce(j.earlier_id, j.id), coalesce(j.earlier_seq, n.seq),
           coalesce(j.earlier_created_at, now_ms), j.earlier_kind, j.earlier_content, j.earlier_metadata,
           j.membership_version
    FROM judged j LEFT JOIN numbered n ON n.ord = j.ord;
END
$$;
