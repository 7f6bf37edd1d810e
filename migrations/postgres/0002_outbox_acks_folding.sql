-- Nothing is lost, nothing comes twice: the outbox, delivered cursors, pushes that fold.
--
-- Expands, so that an api-server of 0001 goes on appending while it is replaced: its `append_messages` stays, and what it
-- stores has no row in the outbox, which it would not look after. `push_jobs` alone is contracted at once: 0.1 was never
-- released, so there is nobody who needs both shapes.

-- Which processes live. One row each, gone when the process stops, or some time after it died.
CREATE TABLE api_servers (
    id          uuid        PRIMARY KEY,
    alive_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The intent to deliver: a row for each batch of entries, written with them, removed when their fan-out has ended. A batch
-- holds a channel's row locked, so what it stores in one channel has no gaps: from `first_seqs[n]` to `last_seqs[n]` of
-- `channel_ids[n]`.
--
-- All rows come and go within moments, and sweepers read the whole table, so no index but the key's is worth its
-- upkeep; and the dead are cleared away by their number alone, as a share of the few that live says nothing.
CREATE TABLE outbox (
    id          uuid        PRIMARY KEY,
    owner       uuid        NOT NULL,
    written_at  timestamptz NOT NULL,
    channel_ids uuid[]      NOT NULL,
    first_seqs  bigint[]    NOT NULL,
    last_seqs   bigint[]    NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000
);

-- Up to here everything is on at least one device of the user. No index covers it: moving it is a HOT update.
ALTER TABLE participants ADD COLUMN delivered_seq bigint NOT NULL DEFAULT 0;
UPDATE participants SET delivered_seq = read_seq WHERE read_seq > 0;

-- What a device is to be told of a channel: one row for ever, so that it is known what need not be told again.
LOCK TABLE push_jobs IN ACCESS EXCLUSIVE MODE;
CREATE TEMPORARY TABLE waiting ON COMMIT DROP AS
SELECT user_id, device_id, channel_id, min(seq) AS first_seq, max(seq) AS seq, min(due_at) AS due_at,
       min(created_at) AS created_at
FROM push_jobs WHERE failed_at IS NULL GROUP BY user_id, device_id, channel_id;
DROP TABLE push_jobs;

CREATE TABLE push_jobs (
    id            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       text        COLLATE "C" NOT NULL,
    device_id     text        COLLATE "C" NOT NULL,
    channel_id    uuid        NOT NULL,
    -- What waits, or waited last.
    first_seq     bigint      NOT NULL,
    seq           bigint      NOT NULL,
    -- Up to here the device has been told, or needs not be: it has it, the user has read it, or pushing has failed.
    settled_seq   bigint      NOT NULL DEFAULT 0,
    -- What the last one who took the job took of it.
    leased_seq    bigint      NOT NULL DEFAULT 0,
    attempts      integer     NOT NULL DEFAULT 0,
    -- Null: nothing waits, and `settled_seq` has reached `seq`. Whoever takes a job moves it into the future; that is
    -- its lease.
    due_at        timestamptz,
    -- When the oldest of what waits began to wait.
    created_at    timestamptz NOT NULL,
    failed_at     timestamptz,
    failed_reason text,
    UNIQUE (user_id, channel_id, device_id)
);

CREATE INDEX push_jobs_due ON push_jobs (due_at) WHERE due_at IS NOT NULL;

INSERT INTO push_jobs (user_id, device_id, channel_id, first_seq, seq, due_at, created_at)
SELECT user_id, device_id, channel_id, first_seq, seq, due_at, created_at FROM waiting;

-- As the one of 0001, with two differences: the batch leaves its row in the outbox, in the same statement; and a clock
-- that is set back makes no entry older than the one before it.
CREATE FUNCTION append_messages(
    channel_ids        uuid[],
    sender_ids         text[],
    entry_ids          uuid[],
    kinds              text[],
    contents           text[],
    metadatas          text[],
    client_message_ids text[],
    outbox_id          uuid,
    outbox_owner       uuid
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
        SELECT i.*, c.last_seq, c.membership_version, greatest(now_ms, c.updated_at) AS moment,
               earlier.seq AS earlier_seq, earlier.id AS earlier_id, earlier.created_at AS earlier_created_at,
               earlier.kind AS earlier_kind, earlier.content AS earlier_content,
               earlier.metadata AS earlier_metadata,
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
        SELECT n.channel_id, n.seq, n.id, 'message', n.sender_id, n.moment, n.kind, n.content, n.metadata,
               n.client_message_id
        FROM numbered n
    ), added AS (
        SELECT n.channel_id, min(n.seq) AS first_seq, max(n.seq) AS last_seq, max(n.moment) AS moment
        FROM numbered n GROUP BY n.channel_id
    ), advanced AS (
        UPDATE channels SET last_seq = added.last_seq, updated_at = added.moment
        FROM added WHERE channels.id = added.channel_id
    ), intended AS (
        INSERT INTO outbox (id, owner, written_at, channel_ids, first_seqs, last_seqs)
        SELECT outbox_id, outbox_owner, now_ms, array_agg(a.channel_id), array_agg(a.first_seq),
               array_agg(a.last_seq)
        FROM added a HAVING count(*) > 0
    )
    SELECT j.ord, j.verdict, coalesce(j.earlier_id, j.id), coalesce(j.earlier_seq, n.seq),
           coalesce(j.earlier_created_at, j.moment), j.earlier_kind, j.earlier_content, j.earlier_metadata,
           j.membership_version
    FROM judged j LEFT JOIN numbered n ON n.ord = j.ord;
END
$$;
