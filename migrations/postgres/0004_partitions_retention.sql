-- The log in partitions, so that its tables, indexes and vacuum stay workable at a billion rows; and what retention needs to
-- know. Expands: `entries` keeps its name, columns, keys and the functions that append to it, so that api-servers of 0003 go
-- on, also over the connections that they have.
--
-- What is there is copied, within this migration's transaction. Meanwhile everything can be read; what is sent is refused
-- (`overloaded`, 503, and clients send again), because storing begins with a lock on a channel's row, which this takes from
-- all of them. Until the commit the log is on the disk twice. docs/scaling.md has how long it takes.

-- Before anything that waits for it: whoever stores locks rows here first, and holds nothing of the log while it waits.
LOCK TABLE channels IN EXCLUSIVE MODE;

CREATE TABLE partitioned_entries (
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
    user_ids          text[]
) PARTITION BY HASH (channel_id);

-- Eight: at a billion rows 125 million each. A batch pays for every partition that it touches, and a statement that reads
-- many channels for every one that there is, so not more than are needed: with 16 a batch of 64 messages costs four
-- microseconds more a message, with 8 one. A partition that has outgrown its machine can be split into two of modulus 16 alone.
DO $$
BEGIN
    FOR remainder IN 0..7 LOOP
        EXECUTE format('CREATE TABLE entries_%s PARTITION OF partitioned_entries FOR VALUES WITH (MODULUS 8, REMAINDER %s)',
                       remainder, remainder);
    END LOOP;
END
$$;

-- Keys after rows: an index that is built at once takes less time and room than one that grows.
INSERT INTO partitioned_entries SELECT * FROM entries;
ALTER TABLE partitioned_entries ADD CONSTRAINT partitioned_entries_pkey PRIMARY KEY (channel_id, seq);
-- Idempotency, for as long as the entry is kept.
CREATE UNIQUE INDEX partitioned_entries_by_client_message
    ON partitioned_entries (channel_id, sender_id, client_message_id) WHERE client_message_id IS NOT NULL;
-- Autovacuum analyses partitions, never the whole. Not an empty log: a table that is known to be empty is read from one end
-- to the other, by plans that are kept.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM partitioned_entries) THEN
        ANALYZE partitioned_entries;
    END IF;
END
$$;

-- From here on readers wait too, for moments: until those who read are done, and then until the commit.
DROP TABLE entries;
ALTER TABLE partitioned_entries RENAME TO entries;
ALTER TABLE entries RENAME CONSTRAINT partitioned_entries_pkey TO entries_pkey;
ALTER INDEX partitioned_entries_by_client_message RENAME TO entries_by_client_message;

-- A plan's estimate counts every partition, though execution looks at one; so a look at a few entries seems to be worth
-- compiling, which takes a tenth of a second.
ALTER FUNCTION append_messages(uuid[], text[], uuid[], text[], text[], text[], text[]) SET jit = off;
ALTER FUNCTION append_messages(uuid[], text[], uuid[], text[], text[], text[], text[], uuid, uuid) SET jit = off;

-- How far the removal of old entries has come in its round through the channels: one row.
CREATE TABLE retention (
    only_row      boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    -- The api-server whose turn it is, until `due_at`; null between two rounds.
    owner         uuid,
    next_channel  uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    due_at        timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
INSERT INTO retention DEFAULT VALUES;

-- One bounded batch of what is older than `kept_for`: looks at up to `most` channels and removes up to `most` entries, from the
-- beginning of their logs, where the oldest are. Nobody who stores or reads waits for a lock that this takes: entries are no
-- longer changed by anybody, and the channels' rows are left alone. `is_done`: there is nothing to do now, or it is another
-- server's turn.
CREATE FUNCTION remove_old_entries(
    remover     uuid,
    kept_for    interval,
    most        bigint,
    -- How long the next batch is the remover's, and how long after a round the next one begins.
    lease       interval,
    pause       interval,
    OUT removed bigint,
    OUT is_done boolean
)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    kept_from  timestamptz := now() - kept_for;
    from_id    uuid;
    looked_at  bigint := 0;
    channel    record;
    last_old   bigint;
    gone       bigint;
BEGIN
    removed := 0;
    is_done := true;
    -- A time that lies further ahead than any was written before the clock was set back.
    SELECT next_channel INTO from_id FROM retention
    WHERE owner = remover OR due_at <= now() OR due_at > now() + greatest(lease, pause)
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR channel IN
        SELECT c.id, (SELECT e.created_at FROM entries e WHERE e.channel_id = c.id ORDER BY e.seq LIMIT 1) AS begins_at
        FROM channels c WHERE c.id >= from_id ORDER BY c.id LIMIT most
    LOOP
        looked_at := looked_at + 1;
        from_id := channel.id;
        IF channel.begins_at < kept_from THEN
            -- `created_at` never goes back within a channel, so what is old lies at the beginning.
            SELECT max(o.seq) INTO last_old FROM (
                SELECT e.seq, e.created_at FROM entries e WHERE e.channel_id = channel.id
                ORDER BY e.seq LIMIT most - removed
            ) o WHERE o.created_at < kept_from;
            DELETE FROM entries WHERE channel_id = channel.id AND seq <= last_old;
            GET DIAGNOSTICS gone = ROW_COUNT;
            removed := removed + gone;
            EXIT WHEN removed >= most;
        END IF;
    END LOOP;
    -- The last channel is looked at again: there may be more of it.
    is_done := removed < most AND looked_at < most;
    IF is_done THEN
        -- What was still to be delivered of them is not wanted any more.
        DELETE FROM outbox WHERE id IN (
            SELECT id FROM outbox WHERE written_at < kept_from FOR UPDATE SKIP LOCKED
        );
        UPDATE retention SET owner = NULL, next_channel = '00000000-0000-0000-0000-000000000000', due_at = now() + pause;
    ELSE
        UPDATE retention SET owner = remover, next_channel = from_id, due_at = now() + lease;
    END IF;
END
$$;
