-- What goes over all facets: erasing a user, listing scopes and users, purging, and building vector
-- indexes.

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
    PERFORM {schema}.identity(p_user, p_role);
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

-- A page of the nodes at which a user has something, after `p_after`.
CREATE FUNCTION {schema}.list_nodes(
    p_user text, p_role text, p_after text, p_limit bigint
) RETURNS TABLE (node_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    RETURN QUERY
    SELECT c.node_id FROM {schema}.conversations AS c
    WHERE c.user_id = p_user AND c.node_id > p_after
    UNION
    SELECT s.node_id FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id > p_after
    UNION
    SELECT d.node_id FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id > p_after
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
    ORDER BY node_id
    LIMIT p_limit;
END $$;

-- A page of the users who have something, after `p_after`: from one user to the next by index,
-- not over all their rows.
CREATE FUNCTION {schema}.list_users(p_after text, p_limit bigint) RETURNS TABLE (user_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.administer();
    RETURN QUERY
    WITH RECURSIVE users (user_id) AS (
        SELECT p_after COLLATE "C"
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
    WHERE u.user_id > p_after
        AND (EXISTS (SELECT FROM {schema}.conversations AS c WHERE c.user_id = u.user_id)
            OR EXISTS (SELECT FROM {schema}.namespaces AS s WHERE s.user_id = u.user_id)
            OR EXISTS (SELECT FROM {schema}.memory_data AS d WHERE d.user_id = u.user_id
                AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())))
    LIMIT p_limit;
END $$;

-- Removes up to `p_limit` expired entries, first those that nobody is at work on. `is_more` says
-- whether there may be others. With partitions a ctid names a row only together with what is asked
-- for besides.
CREATE FUNCTION {schema}.purge_entries(p_limit bigint, OUT purged bigint, OUT is_more boolean)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.administer();
    DELETE FROM {schema}.memory_data AS d
    WHERE d.expires_at <= clock_timestamp() AND d.ctid = ANY (ARRAY(
        SELECT due.ctid
        FROM {schema}.memory_data AS due
        WHERE due.expires_at <= clock_timestamp()
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS purged = ROW_COUNT;
    is_more := purged > 0;
    IF NOT is_more THEN
        -- What is left is locked: wait for one of those who hold it.
        PERFORM FROM {schema}.memory_data AS due
        WHERE due.expires_at <= clock_timestamp()
        LIMIT 1
        FOR UPDATE;
        is_more := FOUND;
    END IF;
END $$;

-- Removes up to `p_limit` expired records of one namespace, if possible one that nobody writes in.
-- `is_more` says whether there may be others: also where somebody else removed them just now.
CREATE FUNCTION {schema}.purge_records(p_limit bigint, OUT purged bigint, OUT is_more boolean)
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
    IF NOT FOUND THEN
        -- What is left is locked: wait for one of those who hold it.
        SELECT s.* INTO home
        FROM {schema}.namespaces AS s
        WHERE EXISTS (
            SELECT FROM {schema}.embeddings AS e
            WHERE e.user_id = s.user_id AND e.namespace_number = s.namespace_number
                AND e.expires_at <= now)
        LIMIT 1
        FOR UPDATE;
    END IF;
    purged := 0;
    is_more := FOUND;
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

-- The namespaces that have outgrown exact search and are not indexed. Half precision takes 4,000
-- dimensions; beyond them a search stays exact.
CREATE FUNCTION {schema}.outgrown(p_few bigint)
RETURNS TABLE (user_id text, namespace_number bigint, dimensions integer)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.administer();
    RETURN QUERY
    SELECT s.user_id, s.namespace_number, s.dimensions
    FROM {schema}.namespaces AS s
    WHERE s.records > p_few AND NOT s.is_indexed AND s.dimensions <= 4000
    ORDER BY s.user_id, s.namespace_number;
END $$;

-- Marks up to `p_limit` records after `p_after` for the index, and says which was the last; none
-- where there are no more. What is stored meanwhile is marked as it is stored.
CREATE FUNCTION {schema}.mark_records(
    p_user text, p_number bigint, p_after text, p_limit bigint, OUT last text
) LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    places tid[];
BEGIN
    PERFORM {schema}.administer();
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
        set_config('enable_bitmapscan', 'off', true);
    UPDATE {schema}.namespaces AS s SET index_dimensions = s.dimensions
    WHERE s.user_id = p_user AND s.namespace_number = p_number
    RETURNING s.* INTO home;
    SELECT array_agg(page.ctid), max(page.id) INTO places, last
    FROM (
        SELECT e.ctid, e.id
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = p_number AND e.id > p_after
        ORDER BY e.id
        LIMIT p_limit
    ) AS page;
    UPDATE {schema}.embeddings AS e SET index_dimensions = home.dimensions
    WHERE e.user_id = p_user AND e.ctid = ANY (places)
        AND e.index_dimensions IS DISTINCT FROM home.dimensions;
END $$;

-- States that all records of a namespace are in the index.
CREATE FUNCTION {schema}.finish_index(p_user text, p_number bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.administer();
    UPDATE {schema}.namespaces AS s SET is_indexed = true
    WHERE s.user_id = p_user AND s.namespace_number = p_number;
END $$;
