-- The hot statements with less around them. What a call costs beyond the statement itself is mostly
-- the statements that come with it; so the identity is stated by one expression, and what the client
-- knows already, such as the running totals of a batch, is not reckoned here.

-- As `identify`, but an expression that Postgres puts in place of the call. A function that declares
-- a constant by it has stated who it works for before its first statement runs.
CREATE FUNCTION {schema}.identity(p_user text, p_role text) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT concat(
        CASE WHEN p_role IS NOT NULL THEN set_config('role', p_role, true) END,
        set_config('request.jwt.claims',
            json_build_object('sub', p_user, 'role', current_user)::text, true),
        set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
        set_config('plan_cache_mode', 'force_generic_plan', true))
$$;

-- A message as it is read. Of a named type, since Postgres makes up an unnamed one with every call.
CREATE TYPE {schema}.read_message AS (
    total bigint, seq bigint, created_at timestamptz, message_id text, role text, content text,
    name text, tool_calls text, tool_call_id text, metadata text, token_count bigint
);

-- The newest messages that match, newest first; one row without a message where none does. STABLE,
-- it reads the head and the messages as they were when it began.
CREATE FUNCTION {schema}.newest_messages(
    p_user text, p_role text, p_node text, p_conversation text,
    p_limit bigint, p_roles text[], p_after bigint, p_before bigint,
    p_since timestamptz, p_until timestamptz
) RETURNS SETOF {schema}.read_message
LANGUAGE plpgsql STABLE AS $$
DECLARE
    identity CONSTANT text := {schema}.identity(p_user, p_role);
    any_message CONSTANT boolean := p_roles IS NULL AND p_since IS NULL AND p_until IS NULL;
    total bigint;
    none {schema}.read_message;
BEGIN
    SELECT {schema}.messages_held(c) INTO total
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT total, m.seq, m.created_at, m.message_id, m.role, m.content, m.name,
        m.tool_calls::text, m.tool_call_id, m.metadata::text, m.token_count
    FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
        AND m.seq > p_after AND m.seq < p_before
        AND (any_message
            OR ((p_roles IS NULL OR m.role = ANY (p_roles))
                AND (p_since IS NULL OR m.created_at >= p_since)
                AND (p_until IS NULL OR m.created_at < p_until)))
    ORDER BY m.seq DESC
    LIMIT p_limit;
    IF NOT FOUND THEN
        none.total := total;
        RETURN NEXT none;
    END IF;
END $$;

-- Adds messages, given column by column, a column of nothing as null; and applies retention where
-- `p_max_messages` is given. Before each message, the batch has so many system messages and so many
-- tokens of system messages and of others; in all it has `p_totals`: messages of system, user,
-- assistant and tool, and tokens of system messages and of others. `outcome` is stored, replayed,
-- partly_known (`detail`: how many) or another_body (`detail`: the id). Stored messages are numbered
-- from `seqs[1]` on, at `times[1]`.
CREATE FUNCTION {schema}.append_messages(
    p_user text, p_role text, p_node text, p_conversation text,
    p_ids text[], p_digests text[], p_roles text[], p_contents text[], p_names text[],
    p_tool_calls text[], p_tool_call_ids text[], p_metadata text[],
    p_token_counts bigint[], p_tokens bigint[],
    p_system_counts bigint[], p_system_tokens bigint[], p_other_tokens bigint[], p_totals bigint[],
    p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean,
    OUT outcome text, OUT detail text, OUT seqs bigint[], OUT times timestamptz[],
    OUT evicted bigint, OUT message_count bigint, OUT token_count bigint
) LANGUAGE plpgsql AS $$
DECLARE
    identity CONSTANT text := {schema}.identity(p_user, p_role);
    messages CONSTANT integer := cardinality(p_roles);
    head {schema}.conversations;
    is_there boolean := true;
    known record;
    now timestamptz;
BEGIN
    evicted := 0;
    LOOP
        -- What ids are known is asked under the lock alone.
        IF p_ids IS NOT NULL THEN
            SELECT c.* INTO head
            FROM {schema}.conversations AS c
            WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
            FOR UPDATE;
            is_there := FOUND;
        END IF;
        IF p_ids IS NOT NULL AND is_there THEN
            SELECT count(*) AS ids,
                min(p_ids[at]) FILTER (WHERE i.digest <> decode(p_digests[at], 'hex')) AS another,
                array_agg(i.seq ORDER BY at) AS seqs,
                array_agg(i.created_at ORDER BY at) AS times
            INTO known
            FROM generate_series(1, messages) AS at
            CROSS JOIN LATERAL (
                SELECT m.*
                FROM {schema}.message_ids AS m
                WHERE m.user_id = p_user AND m.node_id = p_node
                    AND m.conversation_id = p_conversation AND m.message_id = p_ids[at]
                LIMIT 1
            ) AS i;
            IF known.ids > 0 THEN
                CASE
                    WHEN known.ids < messages THEN
                        outcome := 'partly_known';
                        detail := known.ids;
                    WHEN known.another IS NOT NULL THEN
                        outcome := 'another_body';
                        detail := known.another;
                    ELSE
                        outcome := 'replayed';
                        seqs := known.seqs;
                        times := known.times;
                END CASE;
                message_count := {schema}.messages_held(head);
                token_count := head.system_tokens + head.other_tokens;
                RETURN;
            END IF;
        END IF;
        IF is_there THEN
            UPDATE {schema}.conversations AS c
            SET last_seq = c.last_seq + messages,
                first_seq = coalesce(c.first_seq, c.last_seq + 1),
                others_from = CASE WHEN c.user_count + c.assistant_count + c.tool_count = 0
                    THEN c.last_seq + 1 ELSE c.others_from END,
                system_count = c.system_count + p_totals[1],
                user_count = c.user_count + p_totals[2],
                assistant_count = c.assistant_count + p_totals[3],
                tool_count = c.tool_count + p_totals[4],
                system_tokens = c.system_tokens + p_totals[5],
                other_tokens = c.other_tokens + p_totals[6],
                ever_system_count = c.ever_system_count + p_totals[1],
                ever_system_tokens = c.ever_system_tokens + p_totals[5],
                ever_other_tokens = c.ever_other_tokens + p_totals[6]
            WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
            RETURNING c.* INTO head;
            EXIT WHEN FOUND;
        END IF;
        INSERT INTO {schema}.conversations (user_id, node_id, conversation_id)
        VALUES (p_user, p_node, p_conversation)
        ON CONFLICT DO NOTHING;
    END LOOP;
    outcome := 'stored';
    now := {schema}.now_ms();
    seqs := ARRAY[head.last_seq - messages + 1];
    times := ARRAY[now];
    -- By their places: an array in a variable is read at any place alike, and not copied first.
    INSERT INTO {schema}.conversation_buffers (
        user_id, node_id, conversation_id, seq, created_at, message_id, role, content, name,
        tool_calls, tool_call_id, metadata, token_count, tokens, system_count_before,
        system_tokens_before, other_tokens_before)
    SELECT p_user, p_node, p_conversation, head.last_seq - messages + at, now, p_ids[at],
        p_roles[at], p_contents[at], p_names[at], p_tool_calls[at]::json, p_tool_call_ids[at],
        p_metadata[at]::json, p_token_counts[at], p_tokens[at],
        head.ever_system_count - p_totals[1] + p_system_counts[at],
        head.ever_system_tokens - p_totals[5] + p_system_tokens[at],
        head.ever_other_tokens - p_totals[6] + p_other_tokens[at]
    FROM generate_series(1, messages) AS at;
    IF p_ids IS NOT NULL THEN
        INSERT INTO {schema}.message_ids (
            user_id, node_id, conversation_id, message_id, seq, created_at, digest)
        SELECT p_user, p_node, p_conversation, p_ids[at], head.last_seq - messages + at, now,
            decode(p_digests[at], 'hex')
        FROM generate_series(1, messages) AS at
        WHERE p_ids[at] IS NOT NULL;
    END IF;
    IF p_max_messages IS NOT NULL THEN
        evicted := {schema}.messages_held(head);
        head := {schema}.evict(head, p_max_messages, p_max_tokens, p_keep_system);
        evicted := evicted - {schema}.messages_held(head);
        IF evicted > 0 THEN
            PERFORM {schema}.write_head(head);
        END IF;
    END IF;
    message_count := {schema}.messages_held(head);
    token_count := head.system_tokens + head.other_tokens;
END $$;

-- Reads one entry as it is.
CREATE FUNCTION {schema}.get_entry(
    p_user text, p_role text, p_node text, p_key text
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql STABLE AS $$
DECLARE
    identity CONSTANT text := {schema}.identity(p_user, p_role);
BEGIN
    RETURN QUERY
    SELECT d.key, d.value::text, d.metadata::text, d.version, d.created_at, d.updated_at,
        d.expires_at
    FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
END $$;
