-- Appending costs less where the senders are known to take part. Expands: `append_messages` stays, for the batches that this
-- one turns down and for api-servers of 0002.

-- Group commit of a batch whose senders the caller knows to take part, each as of the membership version that it gives:
-- stores all of it, or nothing. Then it looks for no sender, and for no earlier client message id: if there is one, the
-- unique key says so and takes the batch back.
--
-- `channel_ids` are the batch's channels, each once, ascending. Of each message `places` is its channel's place among them
-- and `positions` its own among the batch's messages to that channel, both from 1.
--
-- `outcome` is 'stored', 'membership_changed' (or there is no such channel) or 'repeated'. If stored, `last_seqs` are the
-- channels' last seqs before the batch and `moments` when its messages were created, both in the order of `channel_ids`.
--
-- Its plans are made once and go by index. Left to itself, the planner makes them anew for each small batch, and reads a table
-- of some thousand channels whole, for every batch: a third to a half of all that a small batch costs.
CREATE FUNCTION append_known_messages(
    channel_ids         uuid[],
    membership_versions bigint[],
    message_counts      integer[],
    places              integer[],
    positions           integer[],
    sender_ids          text[],
    entry_ids           uuid[],
    kinds               text[],
    contents            text[],
    metadatas           text[],
    client_message_ids  text[],
    outbox_id           uuid,
    outbox_owner        uuid,
    OUT outcome         text,
    OUT last_seqs       bigint[],
    OUT moments         timestamptz[]
)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    found_ids      uuid[];
    found_versions bigint[];
BEGIN
    -- Locked in one order, as everywhere. What is read is as of the lock, also after waiting for it; and so is the
    -- clock, which makes no entry older than the one before it.
    SELECT array_agg(id), array_agg(membership_version), array_agg(last_seq),
           array_agg(greatest(date_trunc('milliseconds', clock_timestamp()), updated_at))
    INTO found_ids, found_versions, last_seqs, moments
    FROM (
        SELECT id, membership_version, last_seq, updated_at FROM channels
        WHERE id = ANY (channel_ids) ORDER BY id FOR NO KEY UPDATE
    ) locked;
    IF found_ids IS DISTINCT FROM channel_ids OR found_versions IS DISTINCT FROM membership_versions THEN
        outcome := 'membership_changed';
        RETURN;
    END IF;
    BEGIN
        INSERT INTO entries (channel_id, seq, id, type, sender_id, created_at, kind, content, metadata,
                             client_message_id)
        SELECT channel_ids[i.place], last_seqs[i.place] + i.position, i.id, 'message', i.sender_id, moments[i.place],
               i.kind, i.content, i.metadata, i.client_message_id
        FROM unnest(places, positions, entry_ids, sender_ids, kinds, contents, metadatas, client_message_ids)
            AS i (place, position, id, sender_id, kind, content, metadata, client_message_id);
    EXCEPTION WHEN unique_violation THEN
        outcome := 'repeated';
        RETURN;
    END;
    UPDATE channels SET last_seq = channels.last_seq + c.message_count, updated_at = c.moment
    FROM unnest(channel_ids, message_counts, moments) AS c (id, message_count, moment)
    WHERE channels.id = c.id;
    INSERT INTO outbox (id, owner, written_at, channel_ids, first_seqs, last_seqs)
    SELECT outbox_id, outbox_owner, clock_timestamp(), array_agg(c.id), array_agg(c.last_seq + 1),
           array_agg(c.last_seq + c.message_count)
    FROM unnest(channel_ids, last_seqs, message_counts) AS c (id, last_seq, message_count);
    outcome := 'stored';
END
$$;
