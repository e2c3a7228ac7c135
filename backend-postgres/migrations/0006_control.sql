-- What goes over all facets: erasing a user, listing scopes and users, purging.

CREATE TYPE {schema}.conversation_key AS (node_id text, conversation_id text);

-- Removes everything of a user (G12) and says how much of it had not expired. It touches only what
-- it has locked, in the order in which writers lock; what is written meanwhile comes after it.
CREATE FUNCTION {schema}.erase(
    p_user text, p_role text,
    OUT messages bigint, OUT records bigint, OUT entries bigint
) LANGUAGE plpgsql AS $$
DECLARE
    heads {schema}.conversation_key[];
    homes bigint[];
    now timestamptz;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    heads := ARRAY(
        SELECT (c.node_id, c.conversation_id)::{schema}.conversation_key
        FROM {schema}.conversations AS c
        WHERE c.user_id = p_user ORDER BY c.node_id, c.conversation_id FOR UPDATE);
    DELETE FROM {schema}.message_ids AS i
    USING unnest(heads) AS h
    WHERE i.user_id = p_user AND i.node_id = h.node_id AND i.conversation_id = h.conversation_id;
    DELETE FROM {schema}.conversation_buffers AS m
    USING unnest(heads) AS h
    WHERE m.user_id = p_user AND m.node_id = h.node_id AND m.conversation_id = h.conversation_id;
    GET DIAGNOSTICS messages = ROW_COUNT;
    DELETE FROM {schema}.conversations AS c
    USING unnest(heads) AS h
    WHERE c.user_id = p_user AND c.node_id = h.node_id AND c.conversation_id = h.conversation_id;

    homes := ARRAY(
        SELECT s.namespace_number
        FROM {schema}.namespaces AS s
        WHERE s.user_id = p_user ORDER BY s.node_id, s.namespace FOR UPDATE);
    now := clock_timestamp();
    DELETE FROM {schema}.embedding_words AS w
    WHERE w.user_id = p_user AND w.namespace_number = ANY (homes);
    WITH gone AS (
        DELETE FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = ANY (homes)
        RETURNING e.expires_at
    )
    SELECT count(*) INTO records
    FROM gone
    WHERE gone.expires_at IS NULL OR gone.expires_at > now;
    DELETE FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.namespace_number = ANY (homes);

    WITH locked AS MATERIALIZED (
        SELECT d.node_id, d.key
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user ORDER BY d.node_id, d.key FOR UPDATE
    ), gone AS (
        DELETE FROM {schema}.memory_data AS d
        USING locked
        WHERE d.user_id = p_user AND d.node_id = locked.node_id AND d.key = locked.key
        RETURNING d.expires_at
    )
    SELECT count(*) INTO entries
    FROM gone
    WHERE gone.expires_at IS NULL OR gone.expires_at > clock_timestamp();
END $$;

-- A page of the nodes at which a user has something, behind `p_behind`.
CREATE FUNCTION {schema}.list_nodes(
    p_user text, p_role text, p_behind text, p_limit bigint
) RETURNS TABLE (node_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT c.node_id FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id > p_behind
    UNION
    SELECT s.node_id FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id > p_behind
    UNION
    SELECT d.node_id FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id > p_behind
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
    ORDER BY node_id
    LIMIT p_limit;
END $$;

-- States, for one transaction, that the owner administers: its policy lets it see all rows.
CREATE FUNCTION {schema}.administer() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('memquill.administration', 'on', true);
END $$;

-- A page of the users who have something, behind `p_behind`: from one user to the next by index,
-- not over all their rows.
CREATE FUNCTION {schema}.list_users(p_behind text, p_limit bigint) RETURNS TABLE (user_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.administer();
    RETURN QUERY
    WITH RECURSIVE users (user_id) AS (
        SELECT p_behind COLLATE "C"
        UNION ALL
        SELECT least(
            (SELECT min(c.user_id) FROM {schema}.conversations AS c WHERE c.user_id > u.user_id),
            (SELECT min(s.user_id) FROM {schema}.namespaces AS s WHERE s.user_id > u.user_id),
            (SELECT min(d.user_id) FROM {schema}.memory_data AS d WHERE d.user_id > u.user_id))
        FROM users AS u
        WHERE u.user_id IS NOT NULL
    )
    SELECT u.user_id
    FROM users AS u
    WHERE u.user_id > p_behind
        AND (EXISTS (SELECT FROM {schema}.conversations AS c WHERE c.user_id = u.user_id)
            OR EXISTS (SELECT FROM {schema}.namespaces AS s WHERE s.user_id = u.user_id)
            OR EXISTS (SELECT FROM {schema}.memory_data AS d WHERE d.user_id = u.user_id
                AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())))
    LIMIT p_limit;
END $$;

-- Removes up to `p_limit` expired entries that nobody is at work on, and says how many.
CREATE FUNCTION {schema}.purge_entries(p_limit bigint, OUT purged bigint)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.administer();
    DELETE FROM {schema}.memory_data AS d
    WHERE d.ctid = ANY (ARRAY(
        SELECT due.ctid
        FROM {schema}.memory_data AS due
        WHERE due.expires_at <= clock_timestamp()
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS purged = ROW_COUNT;
END $$;

-- Removes up to `p_limit` expired records of one namespace that nobody writes in, and says how
-- many.
CREATE FUNCTION {schema}.purge_records(p_limit bigint, OUT purged bigint)
LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    now timestamptz := clock_timestamp();
    numbers bigint[];
BEGIN
    PERFORM {schema}.administer();
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE EXISTS (
        SELECT FROM {schema}.embeddings AS e
        WHERE e.user_id = s.user_id AND e.namespace_number = s.namespace_number
            AND e.expires_at <= now)
    LIMIT 1
    FOR UPDATE SKIP LOCKED;
    purged := 0;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT array_agg(due.record_number) INTO numbers
    FROM (
        SELECT e.record_number
        FROM {schema}.embeddings AS e
        WHERE e.user_id = home.user_id AND e.namespace_number = home.namespace_number
            AND e.expires_at <= now
        LIMIT p_limit
    ) AS due;
    IF numbers IS NOT NULL THEN
        PERFORM {schema}.remove_records(home, numbers);
        purged := cardinality(numbers);
    END IF;
END $$;
