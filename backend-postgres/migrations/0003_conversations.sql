-- Conversations: one function per operation, so that each is one statement to the client, and the
-- identity ends with it.

-- Evicts by retention (C4) and brings the head up to date; the caller has locked the head and
-- writes it back. Messages held are, of system messages and of others alike, the newest ever
-- appended; so the totals ever minus a message's running totals are what is held from it on.
CREATE FUNCTION {schema}.evict(
    head {schema}.conversations, p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean
) RETURNS {schema}.conversations
LANGUAGE plpgsql AS $$
DECLARE
    pinned_count bigint := CASE WHEN p_keep_system THEN head.system_count ELSE 0 END;
    pinned_tokens bigint := CASE WHEN p_keep_system THEN head.system_tokens ELSE 0 END;
    room_messages bigint := greatest(p_max_messages - pinned_count, 0);
    room_tokens bigint := greatest(p_max_tokens - pinned_tokens, 0);
    others bigint := head.user_count + head.assistant_count + head.tool_count;
    start bigint := CASE WHEN p_keep_system THEN head.others_from ELSE head.first_seq END;
    cut bigint;
    gone record;
BEGIN
    IF others + head.system_count - pinned_count <= room_messages
        AND head.other_tokens + head.system_tokens - pinned_tokens <= room_tokens
    THEN
        RETURN head;
    END IF;

    -- The first message that stays. The newest always does, even alone over the limit.
    SELECT m.seq INTO cut
    FROM {schema}.conversation_buffers AS m
    CROSS JOIN LATERAL (SELECT
        least(others, head.last_seq - head.ever_system_count - (m.seq - 1 - m.system_count_before)) AS messages,
        least(head.other_tokens, head.ever_other_tokens - m.other_tokens_before) AS tokens,
        CASE WHEN p_keep_system THEN 0 ELSE head.ever_system_count - m.system_count_before END AS system_messages,
        CASE WHEN p_keep_system THEN 0 ELSE head.ever_system_tokens - m.system_tokens_before END AS system_tokens
    ) AS from_here
    WHERE m.user_id = head.user_id AND m.node_id = head.node_id
        AND m.conversation_id = head.conversation_id
        AND m.seq >= start
        AND NOT (p_keep_system AND m.role = 'system')
        AND (m.seq = head.last_seq
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
        FROM removed
        WHERE i.user_id = head.user_id AND i.node_id = head.node_id
            AND i.conversation_id = head.conversation_id
            AND i.message_id = removed.message_id
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

-- How many messages a conversation holds.
CREATE FUNCTION {schema}.messages_held(head {schema}.conversations) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT head.system_count + head.user_count + head.assistant_count + head.tool_count
$$;

-- Adds messages, given column by column, and applies retention where `p_max_messages` is given.
-- `outcome` is stored, replayed, partly_known (`detail`: how many) or another_body (`detail`: the
-- id). Stored messages are numbered from `seqs[1]` on, at `times[1]`.
CREATE FUNCTION {schema}.append(
    p_user text, p_role text, p_node text, p_conversation text,
    p_ids text[], p_digests text[], p_roles text[], p_contents text[], p_names text[],
    p_tool_calls text[], p_tool_call_ids text[], p_metadata text[],
    p_token_counts bigint[], p_tokens bigint[],
    p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean,
    OUT outcome text, OUT detail text, OUT seqs bigint[], OUT times timestamptz[],
    OUT evicted bigint, OUT message_count bigint, OUT token_count bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
    batch record;
    known record;
    now timestamptz;
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
    outcome := 'stored';
    evicted := 0;

    IF cardinality(array_remove(p_ids, NULL)) > 0 THEN
        SELECT count(*) AS ids,
            min(g.id) FILTER (WHERE i.digest <> decode(g.digest, 'hex')) AS another,
            array_agg(i.seq ORDER BY g.at) AS seqs,
            array_agg(i.created_at ORDER BY g.at) AS times
        INTO known
        FROM unnest(p_ids, p_digests) WITH ORDINALITY AS g (id, digest, at)
        JOIN {schema}.message_ids AS i
            ON i.user_id = p_user AND i.node_id = p_node AND i.conversation_id = p_conversation
            AND i.message_id = g.id;
        IF known.ids = cardinality(p_roles) AND known.another IS NULL THEN
            outcome := 'replayed';
            seqs := known.seqs;
            times := known.times;
        ELSIF known.ids = cardinality(p_roles) THEN
            outcome := 'another_body';
            detail := known.another;
        ELSIF known.ids > 0 THEN
            outcome := 'partly_known';
            detail := known.ids;
        END IF;
    END IF;

    IF outcome = 'stored' THEN
        now := {schema}.now_ms();
        WITH given AS (
            SELECT g.*,
                head.ever_system_count + coalesce(count(*) FILTER (WHERE g.role = 'system')
                    OVER earlier, 0) AS system_count_before,
                head.ever_system_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role = 'system')
                    OVER earlier, 0) AS system_tokens_before,
                head.ever_other_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role <> 'system')
                    OVER earlier, 0) AS other_tokens_before
            FROM unnest(p_ids, p_roles, p_contents, p_names, p_tool_calls, p_tool_call_ids,
                    p_metadata, p_token_counts, p_tokens)
                WITH ORDINALITY AS g (id, role, content, name, tool_calls, tool_call_id,
                    metadata, token_count, tokens, at)
            WINDOW earlier AS (ORDER BY g.at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ), inserted AS (
            INSERT INTO {schema}.conversation_buffers (
                user_id, node_id, conversation_id, seq, created_at, message_id, role, content,
                name, tool_calls, tool_call_id, metadata, token_count, tokens,
                system_count_before, system_tokens_before, other_tokens_before)
            SELECT p_user, p_node, p_conversation, head.last_seq + given.at, now, given.id,
                given.role, given.content, given.name, given.tool_calls::json,
                given.tool_call_id, given.metadata::json, given.token_count, given.tokens,
                given.system_count_before, given.system_tokens_before, given.other_tokens_before
            FROM given
        )
        SELECT count(*) AS messages,
            count(*) FILTER (WHERE role = 'system') AS system,
            count(*) FILTER (WHERE role = 'user') AS "user",
            count(*) FILTER (WHERE role = 'assistant') AS assistant,
            count(*) FILTER (WHERE role = 'tool') AS tool,
            coalesce(sum(tokens) FILTER (WHERE role = 'system'), 0)::bigint AS system_tokens,
            coalesce(sum(tokens) FILTER (WHERE role <> 'system'), 0)::bigint AS other_tokens
        INTO batch
        FROM given;

        IF cardinality(array_remove(p_ids, NULL)) > 0 THEN
            INSERT INTO {schema}.message_ids (
                user_id, node_id, conversation_id, message_id, seq, created_at, digest)
            SELECT p_user, p_node, p_conversation, g.id, head.last_seq + g.at, now,
                decode(g.digest, 'hex')
            FROM unnest(p_ids, p_digests) WITH ORDINALITY AS g (id, digest, at)
            WHERE g.id IS NOT NULL;
        END IF;

        seqs := ARRAY[head.last_seq + 1];
        times := ARRAY[now];
        IF head.user_count + head.assistant_count + head.tool_count = 0 THEN
            head.others_from := head.last_seq + 1;
        END IF;
        head.first_seq := coalesce(head.first_seq, head.last_seq + 1);
        head.last_seq := head.last_seq + batch.messages;
        head.system_count := head.system_count + batch.system;
        head.user_count := head.user_count + batch."user";
        head.assistant_count := head.assistant_count + batch.assistant;
        head.tool_count := head.tool_count + batch.tool;
        head.system_tokens := head.system_tokens + batch.system_tokens;
        head.other_tokens := head.other_tokens + batch.other_tokens;
        head.ever_system_count := head.ever_system_count + batch.system;
        head.ever_system_tokens := head.ever_system_tokens + batch.system_tokens;
        head.ever_other_tokens := head.ever_other_tokens + batch.other_tokens;
        IF p_max_messages IS NOT NULL THEN
            evicted := {schema}.messages_held(head);
            head := {schema}.evict(head, p_max_messages, p_max_tokens, p_keep_system);
            evicted := evicted - {schema}.messages_held(head);
        END IF;
        PERFORM {schema}.write_head(head);
    END IF;

    message_count := {schema}.messages_held(head);
    token_count := head.system_tokens + head.other_tokens;
END $$;

-- Writes back a head that the caller has locked.
CREATE FUNCTION {schema}.write_head(head {schema}.conversations) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.conversations AS c
    SET last_seq = head.last_seq,
        first_seq = head.first_seq,
        others_from = head.others_from,
        system_count = head.system_count,
        user_count = head.user_count,
        assistant_count = head.assistant_count,
        tool_count = head.tool_count,
        system_tokens = head.system_tokens,
        other_tokens = head.other_tokens,
        ever_system_count = head.ever_system_count,
        ever_system_tokens = head.ever_system_tokens,
        ever_other_tokens = head.ever_other_tokens
    WHERE c.user_id = head.user_id AND c.node_id = head.node_id
        AND c.conversation_id = head.conversation_id;
END $$;

-- The newest messages that match, newest first; one row without a message where none does.
CREATE FUNCTION {schema}.read_messages(
    p_user text, p_role text, p_node text, p_conversation text,
    p_limit bigint, p_roles text[], p_after bigint, p_before bigint,
    p_since timestamptz, p_until timestamptz
) RETURNS TABLE (
    total bigint, seq bigint, created_at timestamptz, message_id text, role text, content text,
    name text, tool_calls text, tool_call_id text, metadata text, token_count bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT {schema}.messages_held(c),
        m.seq, m.created_at, m.message_id, m.role, m.content, m.name, m.tool_calls::text,
        m.tool_call_id, m.metadata::text, m.token_count
    FROM {schema}.conversations AS c
    LEFT JOIN LATERAL (
        SELECT b.*
        FROM {schema}.conversation_buffers AS b
        WHERE b.user_id = p_user AND b.node_id = p_node AND b.conversation_id = p_conversation
            AND b.seq > p_after AND b.seq < p_before
            AND (p_roles IS NULL OR b.role = ANY (p_roles))
            AND (p_since IS NULL OR b.created_at >= p_since)
            AND (p_until IS NULL OR b.created_at < p_until)
        ORDER BY b.seq DESC
        LIMIT p_limit
    ) AS m ON true
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
END $$;

CREATE FUNCTION {schema}.trim_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean,
    OUT evicted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    SELECT c.* INTO head
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
    FOR UPDATE;
    evicted := 0;
    IF FOUND THEN
        evicted := {schema}.messages_held(head);
        head := {schema}.evict(head, p_max_messages, p_max_tokens, p_keep_system);
        evicted := evicted - {schema}.messages_held(head);
        PERFORM {schema}.write_head(head);
    END IF;
END $$;

CREATE FUNCTION {schema}.clear_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    OUT cleared bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    SELECT c.* INTO head
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
    FOR UPDATE;
    cleared := 0;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    DELETE FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation;
    GET DIAGNOSTICS cleared = ROW_COUNT;
    DELETE FROM {schema}.message_ids AS i
    WHERE i.user_id = p_user AND i.node_id = p_node AND i.conversation_id = p_conversation
        AND i.known_until < head.last_seq;
    UPDATE {schema}.message_ids AS i SET known_until = head.last_seq + 1000
    WHERE i.user_id = p_user AND i.node_id = p_node AND i.conversation_id = p_conversation
        AND i.known_until IS NULL;
    UPDATE {schema}.conversations AS c
    SET first_seq = NULL, system_count = 0, user_count = 0, assistant_count = 0, tool_count = 0,
        system_tokens = 0, other_tokens = 0
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
END $$;

-- Conversations in figures: one of them, or a page of those behind `p_behind`.
CREATE FUNCTION {schema}.conversation_figures(
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
    LEFT JOIN {schema}.conversation_buffers AS first
        ON first.user_id = p_user AND first.node_id = p_node
        AND first.conversation_id = c.conversation_id AND first.seq = c.first_seq
    LEFT JOIN {schema}.conversation_buffers AS last
        ON last.user_id = p_user AND last.node_id = p_node
        AND last.conversation_id = c.conversation_id AND last.seq = c.last_seq
    WHERE c.user_id = p_user AND c.node_id = p_node
        AND (p_conversation IS NULL OR c.conversation_id = p_conversation)
        AND c.conversation_id > p_behind
    ORDER BY c.conversation_id
    LIMIT p_limit;
END $$;
