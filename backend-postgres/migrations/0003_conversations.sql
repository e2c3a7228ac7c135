-- Conversations: one function per operation, so that each is one statement to the client, and the
-- identity ends with it. What a call costs beyond its statements is mostly the number of them, so the
-- hot functions have few.

-- A message as it is read. Of a named type, since Postgres makes up an unnamed one with every call.
CREATE TYPE {schema}.read_message AS (
    total bigint, seq bigint, created_at timestamptz, message_id text, role text, content text,
    name text, tool_calls text, tool_call_id text, metadata text, extra text, token_count bigint
);

-- How many messages a conversation holds.
CREATE FUNCTION {schema}.messages_held(head {schema}.conversations) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT head.system_count + head.user_count + head.assistant_count + head.tool_count
$$;

-- A conversation as it is listed.
CREATE TYPE {schema}.listed_conversation AS (
    conversation_id text, last_seq bigint, system_count bigint, user_count bigint,
    assistant_count bigint, tool_count bigint, token_count bigint,
    oldest timestamptz, newest timestamptz,
    incarnation bigint, revision bigint, summarized_through bigint
);

-- A time in milliseconds since 1970.
CREATE FUNCTION {schema}.millis(p_time timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (extract(epoch FROM p_time) * 1000)::bigint
$$;

-- And back.
CREATE FUNCTION {schema}.time_of(p_millis bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT timestamptz 'epoch' + p_millis * interval '1 millisecond'
$$;

-- Evicts by retention (C4) and brings the head up to date; the caller has locked the head and
-- writes it back. Messages held are, of system messages and of others alike, the newest ever
-- appended; so the totals ever minus a message's running totals are what is held from it on. The
-- newest message may have a lower number than the last that was given (C11, C14).
CREATE FUNCTION {schema}.evict(
    head {schema}.conversations, p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean,
    p_up_to bigint
) RETURNS {schema}.conversations
LANGUAGE plpgsql AS $$
DECLARE
    pinned_count bigint := CASE WHEN p_keep_system THEN head.system_count ELSE 0 END;
    pinned_tokens bigint := CASE WHEN p_keep_system THEN head.system_tokens ELSE 0 END;
    room_messages bigint := greatest(p_max_messages - pinned_count, 0);
    room_tokens bigint := greatest(p_max_tokens - pinned_tokens, 0);
    others bigint := head.user_count + head.assistant_count + head.tool_count;
    start bigint := CASE WHEN p_keep_system THEN head.others_from ELSE head.first_seq END;
    newest bigint;
    cut bigint;
    gone record;
BEGIN
    IF p_up_to IS NOT NULL THEN
        head.summarized_through :=
            greatest(head.summarized_through, least(p_up_to, head.last_seq));
    END IF;
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
        least(others, head.ever_other_count - m.other_count_before) AS messages,
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
    cut := least(coalesce(cut - 1, head.last_seq), p_up_to) + 1;

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

-- Writes back what `evict` changed in a head that the caller has locked.
CREATE FUNCTION {schema}.write_head(head {schema}.conversations) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.conversations AS c
    SET (first_seq, others_from, system_count, user_count, assistant_count, tool_count,
            system_tokens, other_tokens, summarized_through)
        = (head.first_seq, head.others_from, head.system_count, head.user_count,
            head.assistant_count, head.tool_count, head.system_tokens, head.other_tokens,
            head.summarized_through)
    WHERE c.user_id = head.user_id AND c.node_id = head.node_id
        AND c.conversation_id = head.conversation_id;
END $$;

-- Adds messages, given column by column, a column of nothing as null; and applies retention where
-- `p_max_messages` is given. What the client knows already is not computed here: how many system
-- messages, and tokens of system messages and of others, the batch has before each message; and
-- `p_totals`, its messages of system, user, assistant and tool, and its tokens of system messages and
-- of others. `outcome` is stored, replayed, partly_known (`detail`: how many) or another_body
-- (`detail`: the id). Stored messages are numbered from `seqs[1]` on, at `times[1]`.
CREATE FUNCTION {schema}.append_messages(
    p_user text, p_role text, p_node text, p_conversation text,
    p_ids text[], p_digests text[], p_roles text[], p_contents text[], p_names text[],
    p_tool_calls text[], p_tool_call_ids text[], p_metadata text[], p_extra text[],
    p_token_counts bigint[], p_tokens bigint[],
    p_system_counts bigint[], p_system_tokens bigint[], p_other_tokens bigint[], p_totals bigint[],
    p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean, p_up_to bigint,
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
                    WHEN known.another IS NOT NULL THEN
                        outcome := 'another_body';
                        detail := known.another;
                    WHEN known.ids < messages THEN
                        outcome := 'partly_known';
                        detail := known.ids;
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
                ever_other_count = c.ever_other_count + messages - p_totals[1],
                ever_system_tokens = c.ever_system_tokens + p_totals[5],
                ever_other_tokens = c.ever_other_tokens + p_totals[6],
                activity = {schema}.millis({schema}.now_ms())
            WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
            RETURNING c.* INTO head;
            EXIT WHEN FOUND;
        END IF;
        INSERT INTO {schema}.conversations (user_id, node_id, conversation_id)
        VALUES (p_user, p_node, p_conversation)
        ON CONFLICT DO NOTHING;
    END LOOP;
    outcome := 'stored';
    now := {schema}.time_of(head.activity);
    seqs := ARRAY[head.last_seq - messages + 1];
    times := ARRAY[now];
    -- By their places: an array in a variable is read at any place alike, and not copied first.
    INSERT INTO {schema}.conversation_buffers (
        user_id, node_id, conversation_id, seq, created_at, message_id, role, content, name,
        tool_calls, tool_call_id, metadata, extra, token_count, tokens, system_count_before,
        other_count_before, system_tokens_before, other_tokens_before)
    SELECT p_user, p_node, p_conversation, head.last_seq - messages + at, now, p_ids[at],
        p_roles[at], p_contents[at], p_names[at], p_tool_calls[at]::json, p_tool_call_ids[at],
        p_metadata[at]::json, p_extra[at]::json, p_token_counts[at], p_tokens[at],
        head.ever_system_count - p_totals[1] + p_system_counts[at],
        head.ever_other_count - messages + p_totals[1] + at - 1 - p_system_counts[at],
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
        head := {schema}.evict(head, p_max_messages, p_max_tokens, p_keep_system, p_up_to);
        evicted := evicted - {schema}.messages_held(head);
        IF evicted > 0 OR p_up_to IS NOT NULL THEN
            PERFORM {schema}.write_head(head);
        END IF;
    END IF;
    message_count := {schema}.messages_held(head);
    token_count := head.system_tokens + head.other_tokens;
END $$;

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
        m.tool_calls::text, m.tool_call_id, m.metadata::text, m.extra::text, m.token_count
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

-- Applies retention (C4) without appending; `evicted` is null where the lineage is another than is
-- given.
CREATE FUNCTION {schema}.trim_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    p_max_messages bigint, p_max_tokens bigint, p_keep_system boolean, p_up_to bigint,
    p_incarnation bigint, p_revision bigint,
    OUT evicted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    SELECT c.* INTO head
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
    FOR UPDATE;
    IF (coalesce(head.incarnation, 0), coalesce(head.revision, 0)) <> (p_incarnation, p_revision) THEN
        RETURN;
    END IF;
    evicted := 0;
    IF head.last_seq IS NOT NULL THEN
        evicted := {schema}.messages_held(head);
        head := {schema}.evict(head, p_max_messages, p_max_tokens, p_keep_system, p_up_to);
        evicted := evicted - {schema}.messages_held(head);
        PERFORM {schema}.write_head(head);
    END IF;
END $$;

-- Returns the statistics of a conversation.
CREATE FUNCTION {schema}.listed(head {schema}.conversations) RETURNS {schema}.listed_conversation
LANGUAGE sql STABLE AS $$
    SELECT head.conversation_id, head.last_seq, head.system_count, head.user_count,
        head.assistant_count, head.tool_count, head.system_tokens + head.other_tokens,
        (SELECT m.created_at
         FROM {schema}.conversation_buffers AS m
         WHERE m.user_id = head.user_id AND m.node_id = head.node_id
            AND m.conversation_id = head.conversation_id AND m.seq = head.first_seq
         LIMIT 1),
        CASE WHEN head.activity >= 0 THEN {schema}.time_of(head.activity) END,
        head.incarnation, head.revision, head.summarized_through
$$;

-- Statistics of conversations: of one of them, or of a page of those after `p_after`.
CREATE FUNCTION {schema}.conversation_statistics(
    p_user text, p_role text, p_node text, p_conversation text, p_after text, p_limit bigint
) RETURNS SETOF {schema}.listed_conversation
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    RETURN QUERY
    SELECT listed.*
    FROM {schema}.conversations AS c
    CROSS JOIN LATERAL {schema}.listed(c) AS listed
    WHERE c.user_id = p_user AND c.node_id = p_node
        AND (p_conversation IS NULL OR c.conversation_id = p_conversation)
        AND c.conversation_id > p_after
    ORDER BY c.conversation_id
    LIMIT p_limit;
END $$;

-- The same of a page by activity: of those behind `p_after`, whose activity is `p_activity` (C12).
CREATE FUNCTION {schema}.active_conversations(
    p_user text, p_role text, p_node text, p_activity bigint, p_after text, p_limit bigint
) RETURNS SETOF {schema}.listed_conversation
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    RETURN QUERY
    SELECT listed.*
    FROM {schema}.conversations AS c
    CROSS JOIN LATERAL {schema}.listed(c) AS listed
    WHERE c.user_id = p_user AND c.node_id = p_node
        AND c.activity >= -1 AND c.activity <= p_activity
        AND (c.activity < p_activity OR c.conversation_id > p_after)
    ORDER BY c.activity DESC, c.conversation_id
    LIMIT p_limit;
END $$;

-- Puts messages back, given column by column, ascending by number; a column of nothing is null.
-- `number_taken` is a number that was given to another message, `id_taken` an id that another
-- message has; then nothing is changed.
CREATE FUNCTION {schema}.restore_messages(
    p_user text, p_role text, p_node text, p_conversation text, p_last_seq bigint,
    p_seqs bigint[], p_times timestamptz[],
    p_ids text[], p_digests text[], p_roles text[], p_contents text[], p_names text[],
    p_tool_calls text[], p_tool_call_ids text[], p_metadata text[], p_extra text[],
    p_token_counts bigint[], p_tokens bigint[],
    p_incarnation bigint, p_revision bigint, p_summarized_through bigint,
    OUT written bigint, OUT number_taken bigint, OUT id_taken text
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
    messages integer := cardinality(p_seqs);
    known integer;
    change record;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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
            AND {schema}.same_json(m.extra, p_extra[at]::json)
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
    WITH given AS (
        SELECT at, p_seqs[at] AS seq, p_roles[at] AS role, p_tokens[at] AS tokens
        FROM generate_series(known + 1, messages) AS at
    ), inserted AS (
        INSERT INTO {schema}.conversation_buffers (
            user_id, node_id, conversation_id, seq, created_at, message_id, role, content, name,
            tool_calls, tool_call_id, metadata, extra, token_count, tokens, system_count_before,
            other_count_before, system_tokens_before, other_tokens_before)
        SELECT p_user, p_node, p_conversation, g.seq, p_times[g.at], p_ids[g.at], g.role,
            p_contents[g.at], p_names[g.at], p_tool_calls[g.at]::json, p_tool_call_ids[g.at],
            p_metadata[g.at]::json, p_extra[g.at]::json, p_token_counts[g.at], g.tokens,
            head.ever_system_count + coalesce(count(*) FILTER (WHERE g.role = 'system')
                OVER earlier, 0),
            head.ever_other_count + coalesce(count(*) FILTER (WHERE g.role <> 'system')
                OVER earlier, 0),
            head.ever_system_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role = 'system')
                OVER earlier, 0),
            head.ever_other_tokens + coalesce(sum(g.tokens) FILTER (WHERE g.role <> 'system')
                OVER earlier, 0)
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
        ever_other_count = c.ever_other_count + written - change.system,
        ever_system_tokens = c.ever_system_tokens + change.system_tokens,
        ever_other_tokens = c.ever_other_tokens + change.other_tokens,
        -- One that begins takes the lineage over; one of the same incarnation joins it.
        incarnation = CASE WHEN c.last_seq = 0 AND p_incarnation > 0 THEN p_incarnation
            ELSE c.incarnation END,
        revision = CASE WHEN p_incarnation > 0 AND c.last_seq = 0 OR c.incarnation = p_incarnation
            THEN greatest(c.revision, p_revision) ELSE c.revision END,
        summarized_through = CASE WHEN p_incarnation > 0 AND c.last_seq = 0
                OR c.incarnation = p_incarnation
            THEN greatest(c.summarized_through, p_summarized_through)
            ELSE c.summarized_through END,
        activity = CASE WHEN written > 0 THEN {schema}.millis(p_times[messages])
            ELSE c.activity END
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
END $$;
