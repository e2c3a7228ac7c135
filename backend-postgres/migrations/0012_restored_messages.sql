-- Putting messages back as they were elsewhere, with their numbers and times (C11).

-- Numbers of a conversation that no message was ever given, since it was restored without them.
ALTER TABLE {schema}.conversations
    ADD COLUMN ever_missing bigint NOT NULL DEFAULT 0;
ALTER TABLE {schema}.conversation_buffers
    -- How many of them come before this message; all of them where it does not say.
    ADD COLUMN missing_before bigint;

-- JSON with sorted keys: equal text exactly for identical values. Numbers stay as they are written.
CREATE FUNCTION {schema}.canonical(p_value json) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE json_typeof(p_value)
        WHEN 'object' THEN
            RETURN '{' || coalesce((
                SELECT string_agg(to_json(f.key)::text || ':' || {schema}.canonical(f.value), ','
                    ORDER BY f.key COLLATE "C")
                FROM json_each(p_value) AS f), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((
                SELECT string_agg({schema}.canonical(e.value), ',' ORDER BY e.at)
                FROM json_array_elements(p_value) WITH ORDINALITY AS e (value, at)), '') || ']';
        ELSE
            RETURN p_value::text;
    END CASE;
END $$;

CREATE FUNCTION {schema}.same_json(p_a json, p_b json) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_a IS NULL OR p_b IS NULL THEN p_a IS NULL AND p_b IS NULL
        ELSE p_a::text = p_b::text OR {schema}.canonical(p_a) = {schema}.canonical(p_b)
    END
$$;

-- As in 0003; but a message's place among all is reckoned without the numbers that are missing, and
-- the newest may have been given a lower number than the last.
CREATE OR REPLACE FUNCTION {schema}.evict(
    head {schema}.conversations, p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean
) RETURNS {schema}.conversations
LANGUAGE plpgsql AS $$
DECLARE
    pinned_count bigint := CASE WHEN p_keep_system THEN head.system_count ELSE 0 END;
    pinned_tokens bigint := CASE WHEN p_keep_system THEN head.system_tokens ELSE 0 END;
    room_messages bigint := greatest(p_max_messages - pinned_count, 0);
    room_tokens bigint := greatest(p_max_tokens - pinned_tokens, 0);
    others bigint := head.user_count + head.assistant_count + head.tool_count;
    ever_others bigint := head.last_seq - head.ever_system_count - head.ever_missing;
    start bigint := CASE WHEN p_keep_system THEN head.others_from ELSE head.first_seq END;
    newest bigint;
    cut bigint;
    gone record;
BEGIN
    IF others + head.system_count - pinned_count <= room_messages
        AND head.other_tokens + head.system_tokens - pinned_tokens <= room_tokens
    THEN
        RETURN head;
    END IF;

    SELECT m.seq INTO newest
    FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = head.user_id AND m.node_id = head.node_id
        AND m.conversation_id = head.conversation_id
    ORDER BY m.seq DESC
    LIMIT 1;

    -- The first message that stays. The newest always does, even alone over the limit.
    SELECT m.seq INTO cut
    FROM {schema}.conversation_buffers AS m
    CROSS JOIN LATERAL (SELECT
        least(others, ever_others - (m.seq - 1 - m.system_count_before
            - coalesce(m.missing_before, head.ever_missing))) AS messages,
        least(head.other_tokens, head.ever_other_tokens - m.other_tokens_before) AS tokens,
        CASE WHEN p_keep_system THEN 0 ELSE head.ever_system_count - m.system_count_before END AS system_messages,
        CASE WHEN p_keep_system THEN 0 ELSE head.ever_system_tokens - m.system_tokens_before END AS system_tokens
    ) AS from_here
    WHERE m.user_id = head.user_id AND m.node_id = head.node_id
        AND m.conversation_id = head.conversation_id
        AND m.seq >= start
        AND NOT (p_keep_system AND m.role = 'system')
        AND (m.seq = newest
            OR (from_here.messages + from_here.system_messages <= room_messages
                AND from_here.tokens + from_here.system_tokens <= room_tokens))
    ORDER BY m.seq
    LIMIT 1;
    cut := coalesce(cut, head.last_seq + 1);

    WITH removed AS (
        DELETE FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = head.user_id AND m.node_id = head.node_id
            AND m.conversation_id = head.conversation_id
            AND m.seq >= start AND m.seq < cut
            AND NOT (p_keep_system AND m.role = 'system')
        RETURNING m.message_id, m.role, m.tokens
    ), outliving AS (
        UPDATE {schema}.message_ids AS i SET known_until = head.last_seq + 1000
        WHERE i.user_id = head.user_id AND i.node_id = head.node_id
            AND i.conversation_id = head.conversation_id
            AND i.message_id = ANY (ARRAY(
                SELECT removed.message_id FROM removed WHERE removed.message_id IS NOT NULL))
    )
    SELECT count(*) FILTER (WHERE role = 'system') AS system,
        count(*) FILTER (WHERE role = 'user') AS "user",
        count(*) FILTER (WHERE role = 'assistant') AS assistant,
        count(*) FILTER (WHERE role = 'tool') AS tool,
        coalesce(sum(tokens) FILTER (WHERE role = 'system'), 0)::bigint AS system_tokens,
        coalesce(sum(tokens) FILTER (WHERE role <> 'system'), 0)::bigint AS other_tokens
    INTO gone
    FROM removed;

    DELETE FROM {schema}.message_ids AS i
    WHERE i.user_id = head.user_id AND i.node_id = head.node_id
        AND i.conversation_id = head.conversation_id
        AND i.known_until < head.last_seq;

    head.system_count := head.system_count - gone.system;
    head.user_count := head.user_count - gone."user";
    head.assistant_count := head.assistant_count - gone.assistant;
    head.tool_count := head.tool_count - gone.tool;
    head.system_tokens := head.system_tokens - gone.system_tokens;
    head.other_tokens := head.other_tokens - gone.other_tokens;
    head.others_from := greatest(head.others_from, cut);
    head.first_seq := (
        SELECT m.seq
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = head.user_id AND m.node_id = head.node_id
            AND m.conversation_id = head.conversation_id
            AND m.seq >= head.first_seq
        ORDER BY m.seq
        LIMIT 1);
    RETURN head;
END $$;

-- As in 0003; but the newest may have been given a lower number than the last.
CREATE OR REPLACE FUNCTION {schema}.conversation_figures(
    p_user text, p_role text, p_node text, p_conversation text, p_behind text, p_limit bigint
) RETURNS TABLE (
    conversation_id text, last_seq bigint, system_count bigint, user_count bigint,
    assistant_count bigint, tool_count bigint, token_count bigint,
    oldest timestamptz, newest timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT c.conversation_id, c.last_seq, c.system_count, c.user_count, c.assistant_count,
        c.tool_count, c.system_tokens + c.other_tokens, first.created_at, last.created_at
    FROM {schema}.conversations AS c
    LEFT JOIN LATERAL (
        SELECT m.created_at
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = p_user AND m.node_id = p_node
            AND m.conversation_id = c.conversation_id AND m.seq = c.first_seq
        LIMIT 1
    ) AS first ON true
    LEFT JOIN LATERAL (
        SELECT m.created_at
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = p_user AND m.node_id = p_node
            AND m.conversation_id = c.conversation_id
        ORDER BY m.seq DESC
        LIMIT 1
    ) AS last ON true
    WHERE c.user_id = p_user AND c.node_id = p_node
        AND (p_conversation IS NULL OR c.conversation_id = p_conversation)
        AND c.conversation_id > p_behind
    ORDER BY c.conversation_id
    LIMIT p_limit;
END $$;

-- Puts messages back, given column by column, ascending by number; a column of nothing is null.
-- `number_taken` is a number that was given to another message, `id_taken` an id that another
-- message has; then nothing is changed.
CREATE FUNCTION {schema}.restore_messages(
    p_user text, p_role text, p_node text, p_conversation text, p_last_seq bigint,
    p_seqs bigint[], p_times timestamptz[],
    p_ids text[], p_digests text[], p_roles text[], p_contents text[], p_names text[],
    p_tool_calls text[], p_tool_call_ids text[], p_metadata text[],
    p_token_counts bigint[], p_tokens bigint[],
    OUT written bigint, OUT number_taken bigint, OUT id_taken text
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
    messages integer := cardinality(p_seqs);
    known integer;
    skipped bigint;
    change record;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    LOOP
        SELECT c.* INTO head
        FROM {schema}.conversations AS c
        WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
        FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO {schema}.conversations (user_id, node_id, conversation_id)
        VALUES (p_user, p_node, p_conversation)
        ON CONFLICT DO NOTHING;
    END LOOP;

    SELECT count(*) INTO known FROM unnest(p_seqs) AS seq WHERE seq <= head.last_seq;
    SELECT min(p_seqs[at]) INTO number_taken
    FROM generate_series(1, known) AS at
    LEFT JOIN LATERAL (
        SELECT true AS is_identical
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
            AND m.seq = p_seqs[at]
            AND m.created_at = p_times[at]
            AND m.message_id IS NOT DISTINCT FROM p_ids[at]
            AND m.role = p_roles[at]
            AND m.content IS NOT DISTINCT FROM p_contents[at]
            AND m.name IS NOT DISTINCT FROM p_names[at]
            AND {schema}.same_json(m.tool_calls, p_tool_calls[at]::json)
            AND m.tool_call_id IS NOT DISTINCT FROM p_tool_call_ids[at]
            AND {schema}.same_json(m.metadata, p_metadata[at]::json)
            AND m.token_count IS NOT DISTINCT FROM p_token_counts[at]
        LIMIT 1
    ) AS held ON true
    WHERE held.is_identical IS NULL;
    IF number_taken IS NOT NULL THEN
        RETURN;
    END IF;
    SELECT p_ids[at] INTO id_taken
    FROM generate_series(known + 1, messages) AS at
    CROSS JOIN LATERAL (
        SELECT
        FROM {schema}.message_ids AS m
        WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
            AND m.message_id = p_ids[at]
        LIMIT 1
    ) AS other
    ORDER BY at
    LIMIT 1;
    IF id_taken IS NOT NULL THEN
        RETURN;
    END IF;

    written := messages - known;
    skipped := greatest(p_last_seq - head.last_seq, 0) - written;
    IF skipped > 0 THEN
        -- What is held comes before what is skipped now.
        UPDATE {schema}.conversation_buffers AS m SET missing_before = head.ever_missing
        WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
            AND m.missing_before IS NULL;
    END IF;
    WITH given AS (
        SELECT at, p_seqs[at] AS seq, p_roles[at] AS role, p_tokens[at] AS tokens
        FROM generate_series(known + 1, messages) AS at
    ), inserted AS (
        INSERT INTO {schema}.conversation_buffers (
            user_id, node_id, conversation_id, seq, created_at, message_id, role, content, name,
            tool_calls, tool_call_id, metadata, token_count, tokens, system_count_before,
            system_tokens_before, other_tokens_before, missing_before)
        SELECT p_user, p_node, p_conversation, g.seq, p_times[g.at], p_ids[g.at], g.role,
            p_contents[g.at], p_names[g.at], p_tool_calls[g.at]::json, p_tool_call_ids[g.at],
            p_metadata[g.at]::json, p_token_counts[g.at], g.tokens,
            head.ever_system_count + coalesce(count(*) FILTER (WHERE g.role = 'system')
                OVER earlier, 0),
            head.ever_system_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role = 'system')
                OVER earlier, 0),
            head.ever_other_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role <> 'system')
                OVER earlier, 0),
            head.ever_missing + g.seq - head.last_seq - (g.at - known)
        FROM given AS g
        WINDOW earlier AS (ORDER BY g.at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    SELECT min(seq) AS first_seq,
        count(*) FILTER (WHERE role = 'system') AS system,
        count(*) FILTER (WHERE role = 'user') AS "user",
        count(*) FILTER (WHERE role = 'assistant') AS assistant,
        count(*) FILTER (WHERE role = 'tool') AS tool,
        coalesce(sum(tokens) FILTER (WHERE role = 'system'), 0)::bigint AS system_tokens,
        coalesce(sum(tokens) FILTER (WHERE role <> 'system'), 0)::bigint AS other_tokens
    INTO change
    FROM given;
    INSERT INTO {schema}.message_ids (
        user_id, node_id, conversation_id, message_id, seq, created_at, digest)
    SELECT p_user, p_node, p_conversation, p_ids[at], p_seqs[at], p_times[at],
        decode(p_digests[at], 'hex')
    FROM generate_series(known + 1, messages) AS at
    WHERE p_ids[at] IS NOT NULL;

    UPDATE {schema}.conversations AS c
    SET last_seq = greatest(c.last_seq, p_last_seq),
        first_seq = coalesce(c.first_seq, change.first_seq),
        others_from = CASE WHEN c.user_count + c.assistant_count + c.tool_count = 0
            THEN coalesce(change.first_seq, c.others_from) ELSE c.others_from END,
        system_count = c.system_count + change.system,
        user_count = c.user_count + change."user",
        assistant_count = c.assistant_count + change.assistant,
        tool_count = c.tool_count + change.tool,
        system_tokens = c.system_tokens + change.system_tokens,
        other_tokens = c.other_tokens + change.other_tokens,
        ever_system_count = c.ever_system_count + change.system,
        ever_system_tokens = c.ever_system_tokens + change.system_tokens,
        ever_other_tokens = c.ever_other_tokens + change.other_tokens,
        ever_missing = c.ever_missing + skipped
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
END $$;
