-- Taking push jobs costs less. Expands: an api-server of before has the statement in itself.

-- Takes up to `job_limit` jobs that are due, under a lease, and answers what there is to say of each: no target where nobody
-- is to be told any more.
--
-- Its plans are made once and go by index. Left to itself, the planner makes them anew for each lot, because a limit that it
-- knows looks cheaper than one that it does not: a quarter of all that taking a job costs.
CREATE FUNCTION lease_pushes(job_limit bigint, lease_seconds double precision, farthest_seconds double precision)
RETURNS TABLE (
    job_id             bigint,
    job_user_id        text,
    device_id          text,
    attempts           integer,
    job_created_at     timestamptz,
    job_channel_id     uuid,
    job_seq            bigint,
    platform           text,
    installation_id    text,
    registration_token text,
    target_version     bigint,
    channel_name       text,
    messages           bigint,
    unread_total       bigint
)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH due AS (
        SELECT id FROM push_jobs WHERE due_at <= now()
        ORDER BY due_at LIMIT job_limit FOR UPDATE SKIP LOCKED
    ), too_far_ahead AS (
        SELECT id FROM push_jobs WHERE due_at > now() + make_interval(secs => farthest_seconds)
        ORDER BY due_at LIMIT job_limit - (SELECT count(*) FROM due) FOR UPDATE SKIP LOCKED
    ), leased AS (
        -- An array, not a join: of how many rows there are, a plan that is made once knows nothing.
        UPDATE push_jobs j SET due_at = now() + make_interval(secs => lease_seconds), attempts = attempts + 1,
            leased_seq = seq
        WHERE j.id = ANY (ARRAY(SELECT id FROM due UNION ALL SELECT id FROM too_far_ahead)) RETURNING j.*
    )
    SELECT l.id AS job_id, l.user_id AS job_user_id, l.device_id, l.attempts, l.created_at AS job_created_at,
           l.channel_id AS job_channel_id, l.seq AS job_seq,
           d.platform, d.installation_id, d.registration_token, d.target_version, c.name AS channel_name,
           (SELECT count(*) FROM entries e
            WHERE e.channel_id = l.channel_id AND e.seq BETWEEN l.first_seq AND l.seq AND e.seq > p.read_seq
              AND e.type = 'message' AND e.sender_id <> l.user_id) AS messages,
           (SELECT sum(unread.messages)::bigint FROM participants mine
            JOIN channels behind ON behind.id = mine.channel_id AND behind.last_seq > mine.read_seq
            CROSS JOIN LATERAL (
                SELECT count(*) AS messages FROM entries u
                WHERE u.channel_id = mine.channel_id AND u.seq > mine.read_seq
                  AND u.type = 'message' AND u.sender_id <> mine.user_id
            ) unread
            WHERE mine.user_id = l.user_id) AS unread_total
    FROM leased l
    LEFT JOIN participants p
           ON p.channel_id = l.channel_id AND p.user_id = l.user_id AND p.read_seq < l.seq
    LEFT JOIN devices d ON d.user_id = p.user_id AND d.device_id = l.device_id AND d.disabled_at IS NULL
    LEFT JOIN channels c ON c.id = l.channel_id
    ORDER BY l.id;
END
$$;
