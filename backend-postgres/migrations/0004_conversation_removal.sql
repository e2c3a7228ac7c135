-- Removing what was said: clearing, truncating, popping, deleting. Each locks the conversation's head.

-- Removes the messages of a conversation (C9). Its numbering goes on, and ids stay known (C3).
CREATE FUNCTION {schema}.clear_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    OUT cleared bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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
        system_tokens = 0, other_tokens = 0, activity = -1, revision = c.revision + 1,
        summarized_through = 0
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
END $$;

-- Removes all messages behind a number from a conversation that the caller has locked, and counts it
-- into the lineage. The running totals go back to what they were before the first that goes.
CREATE FUNCTION {schema}.remove_behind(head {schema}.conversations, p_after bigint) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    first record;
    gone record;
BEGIN
    SELECT m.seq, m.system_count_before, m.other_count_before, m.system_tokens_before,
        m.other_tokens_before
    INTO first
    FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = head.user_id AND m.node_id = head.node_id
        AND m.conversation_id = head.conversation_id AND m.seq > p_after
    ORDER BY m.seq
    LIMIT 1;
    WITH removed AS (
        DELETE FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = head.user_id AND m.node_id = head.node_id
            AND m.conversation_id = head.conversation_id AND m.seq >= first.seq
        RETURNING m.message_id, m.role, m.tokens
    ), outliving AS (
        UPDATE {schema}.message_ids AS i SET known_until = head.last_seq + 1000
        WHERE i.user_id = head.user_id AND i.node_id = head.node_id
            AND i.conversation_id = head.conversation_id
            AND i.message_id = ANY (ARRAY(
                SELECT removed.message_id FROM removed WHERE removed.message_id IS NOT NULL))
    )
    SELECT count(*) AS messages,
        count(*) FILTER (WHERE role = 'system') AS system,
        count(*) FILTER (WHERE role = 'user') AS "user",
        count(*) FILTER (WHERE role = 'assistant') AS assistant,
        count(*) FILTER (WHERE role = 'tool') AS tool,
        coalesce(sum(tokens) FILTER (WHERE role = 'system'), 0)::bigint AS system_tokens,
        coalesce(sum(tokens) FILTER (WHERE role <> 'system'), 0)::bigint AS other_tokens
    INTO gone
    FROM removed;
    UPDATE {schema}.conversations AS c
    SET first_seq = CASE WHEN c.first_seq >= first.seq THEN NULL ELSE c.first_seq END,
        system_count = c.system_count - gone.system,
        user_count = c.user_count - gone."user",
        assistant_count = c.assistant_count - gone.assistant,
        tool_count = c.tool_count - gone.tool,
        system_tokens = c.system_tokens - gone.system_tokens,
        other_tokens = c.other_tokens - gone.other_tokens,
        ever_system_count = coalesce(first.system_count_before, c.ever_system_count),
        ever_other_count = coalesce(first.other_count_before, c.ever_other_count),
        ever_system_tokens = coalesce(first.system_tokens_before, c.ever_system_tokens),
        ever_other_tokens = coalesce(first.other_tokens_before, c.ever_other_tokens),
        activity = coalesce((
            SELECT {schema}.millis(m.created_at)
            FROM {schema}.conversation_buffers AS m
            WHERE m.user_id = c.user_id AND m.node_id = c.node_id
                AND m.conversation_id = c.conversation_id
            ORDER BY m.seq DESC
            LIMIT 1), -1),
        revision = c.revision + 1,
        summarized_through = least(c.summarized_through, p_after)
    WHERE c.user_id = head.user_id AND c.node_id = head.node_id
        AND c.conversation_id = head.conversation_id;
    RETURN gone.messages;
END $$;

-- The number of the newest message; 0 where none is held.
CREATE FUNCTION {schema}.newest_seq(head {schema}.conversations) RETURNS bigint
LANGUAGE sql AS $$
    SELECT coalesce((
        SELECT m.seq
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = head.user_id AND m.node_id = head.node_id
            AND m.conversation_id = head.conversation_id
        ORDER BY m.seq DESC
        LIMIT 1), 0)
$$;

-- Removes all messages behind a number (C14); `removed` is null where the newest message is another
-- than `p_if_newest` says, and `newest` is its number.
CREATE FUNCTION {schema}.truncate_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    p_after bigint, p_if_newest bigint,
    OUT removed bigint, OUT newest bigint
) LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    SELECT c.* INTO head
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
    FOR UPDATE;
    newest := {schema}.newest_seq(head);
    IF newest <> p_if_newest THEN
        RETURN;
    END IF;
    removed := 0;
    IF head.last_seq > p_after THEN
        removed := {schema}.remove_behind(head, p_after);
    END IF;
END $$;

-- Removes the newest messages and returns them, newest first (C14). Where the newest message is
-- another than `p_if_newest` says, one row without `total`, whose `seq` is its number.
CREATE FUNCTION {schema}.pop_messages(
    p_user text, p_role text, p_node text, p_conversation text,
    p_count bigint, p_if_newest bigint
) RETURNS SETOF {schema}.read_message
LANGUAGE plpgsql AS $$
DECLARE
    head {schema}.conversations;
    newest bigint;
    first bigint;
    other {schema}.read_message;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    SELECT c.* INTO head
    FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation
    FOR UPDATE;
    newest := {schema}.newest_seq(head);
    IF newest <> p_if_newest THEN
        other.seq := newest;
        RETURN NEXT other;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 0::bigint, m.seq, m.created_at, m.message_id, m.role, m.content, m.name,
        m.tool_calls::text, m.tool_call_id, m.metadata::text, m.extra::text, m.token_count
    FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
    ORDER BY m.seq DESC
    LIMIT p_count;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT min(n.seq) INTO first
    FROM (
        SELECT m.seq
        FROM {schema}.conversation_buffers AS m
        WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation
        ORDER BY m.seq DESC
        LIMIT p_count
    ) AS n;
    PERFORM {schema}.remove_behind(head, first - 1);
END $$;

-- Removes a conversation (C13). Its row is the lock: who appends meanwhile begins a new one.
CREATE FUNCTION {schema}.delete_conversation(
    p_user text, p_role text, p_node text, p_conversation text,
    OUT deleted bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    DELETE FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id = p_node AND c.conversation_id = p_conversation;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    IF deleted = 0 THEN
        RETURN;
    END IF;
    DELETE FROM {schema}.conversation_buffers AS m
    WHERE m.user_id = p_user AND m.node_id = p_node AND m.conversation_id = p_conversation;
    DELETE FROM {schema}.message_ids AS i
    WHERE i.user_id = p_user AND i.node_id = p_node AND i.conversation_id = p_conversation;
END $$;
