-- What a call goes by that had to wait for another: who has a name by then, and what time it is.

-- As in 0004, but for a rebinding (V13) that ended meanwhile: the row that was waited for is gone,
-- and the one that took its name is not held. The whole is undone, and the driver asks again.
CREATE OR REPLACE FUNCTION {schema}.delete_records(
    p_user text, p_role text, p_node text, p_namespace text,
    p_ids text[], p_filter text, p_operands text[],
    OUT deleted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    now timestamptz;
    numbers bigint[];
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    deleted := 0;
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace
    FOR UPDATE;
    IF NOT FOUND THEN
        IF EXISTS (
            SELECT FROM {schema}.namespaces AS s
            WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace)
        THEN
            RAISE EXCEPTION USING ERRCODE = 'AM002', MESSAGE = 'a rebinding came between';
        END IF;
        RETURN;
    END IF;
    now := clock_timestamp();
    IF p_ids IS NULL AND p_filter IS NULL THEN
        DELETE FROM {schema}.embedding_words AS p
        WHERE p.user_id = p_user AND p.namespace_number = home.namespace_number;
        WITH gone AS (
            DELETE FROM {schema}.embeddings AS e
            WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
            RETURNING e.expires_at
        )
        SELECT count(*) INTO deleted
        FROM gone
        WHERE gone.expires_at IS NULL OR gone.expires_at > now;
        DELETE FROM {schema}.namespaces AS s
        WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
        RETURN;
    END IF;
    IF p_ids IS NOT NULL THEN
        SELECT array_agg(e.record_number) INTO numbers
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
            AND (e.expires_at IS NULL OR e.expires_at > now)
            AND e.id = ANY (p_ids);
    ELSE
        EXECUTE format($query$
            SELECT array_agg(e.record_number)
            FROM {schema}.embeddings AS e
            WHERE e.user_id = $2 AND e.namespace_number = $3
                AND (e.expires_at IS NULL OR e.expires_at > $4)
                AND %s
            $query$, p_filter)
        INTO numbers
        USING p_operands, p_user, home.namespace_number, now;
    END IF;
    IF numbers IS NOT NULL THEN
        PERFORM {schema}.remove_records(home, numbers);
        deleted := cardinality(numbers);
    END IF;
END $$;

-- As in 0016, and the same for a rebinding that another came before: it holds both rows, or nobody
-- is kept from writing in what it is to replace.
CREATE OR REPLACE FUNCTION {schema}.rebind_namespace(
    p_user text, p_role text, p_node text, p_namespace text, p_from text,
    OUT records bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    home {schema}.namespaces;
    source {schema}.namespaces;
    held bigint;
    now timestamptz;
    missing bigint;
    numbers bigint[];
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    -- Both rows, always in the same order, so that two such calls cannot deadlock.
    PERFORM s.namespace_number
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace IN (p_namespace, p_from)
    ORDER BY s.namespace
    FOR UPDATE;
    GET DIAGNOSTICS held = ROW_COUNT;
    IF held < (
        SELECT count(*) FROM {schema}.namespaces AS s
        WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace IN (p_namespace, p_from))
    THEN
        RAISE EXCEPTION USING ERRCODE = 'AM002', MESSAGE = 'a rebinding came between';
    END IF;
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'AM003',
            MESSAGE = format('there is no namespace "%s"', p_namespace);
    END IF;
    SELECT s.* INTO source
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_from;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'AM003',
            MESSAGE = format('there is no namespace "%s"', p_from);
    END IF;
    now := {schema}.now_ms();

    SELECT count(*) INTO missing
    FROM {schema}.embeddings AS e
    WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
        AND (e.expires_at IS NULL OR e.expires_at > now)
        AND NOT EXISTS (
            SELECT FROM {schema}.embeddings AS c
            WHERE c.user_id = p_user AND c.namespace_number = source.namespace_number
                AND c.id = e.id AND c.content = e.content
                AND c.document_type = e.document_type
                AND c.language IS NOT DISTINCT FROM e.language
                AND {schema}.same_json(c.metadata, e.metadata)
                AND (c.expires_at IS NULL OR c.expires_at > now));
    IF missing > 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'AM004', MESSAGE = format(
            '%s records of the namespace "%s" have no counterpart in "%s"',
            missing, p_namespace, p_from);
    END IF;

    SELECT array_agg(c.record_number) INTO numbers
    FROM {schema}.embeddings AS c
    WHERE c.user_id = p_user AND c.namespace_number = source.namespace_number
        AND NOT EXISTS (
            SELECT FROM {schema}.embeddings AS e
            WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
                AND e.id = c.id AND (e.expires_at IS NULL OR e.expires_at > now));
    IF numbers IS NOT NULL THEN
        PERFORM {schema}.remove_records(source, numbers);
    END IF;
    UPDATE {schema}.embeddings AS c
    SET created_at = e.created_at, updated_at = e.updated_at, expires_at = e.expires_at
    FROM {schema}.embeddings AS e
    WHERE c.user_id = p_user AND c.namespace_number = source.namespace_number
        AND e.user_id = p_user AND e.namespace_number = home.namespace_number AND e.id = c.id;

    DELETE FROM {schema}.embedding_words AS w
    WHERE w.user_id = p_user AND w.namespace_number = home.namespace_number;
    DELETE FROM {schema}.embeddings AS e
    WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number;
    DELETE FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    UPDATE {schema}.namespaces AS s
    SET namespace = p_namespace
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_from
    RETURNING s.records INTO records;
END $$;

-- As in 0005, but for the time, which is that of after the wait: an entry that expired meanwhile is
-- not revived (W4), and one that lives does so for as long as is wanted.
CREATE OR REPLACE FUNCTION {schema}.get_entries(
    p_user text, p_role text, p_node text, p_keys text[], p_extend bigint
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    wanted timestamptz;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    IF p_extend IS NOT NULL THEN
        PERFORM FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at < {schema}.now_ms() + make_interval(secs => p_extend / 1000.0)
        ORDER BY d.key
        FOR UPDATE;
    END IF;
    now := {schema}.now_ms();
    IF p_extend IS NOT NULL THEN
        wanted := now + make_interval(secs => p_extend / 1000.0);
        UPDATE {schema}.memory_data AS d SET expires_at = wanted
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at > {schema}.now_ms() AND d.expires_at < wanted;
    END IF;
    RETURN QUERY
    SELECT d.key, d.value::text, d.metadata::text, d.version, d.created_at, d.updated_at,
        d.expires_at
    FROM unnest(p_keys) WITH ORDINALITY AS g (key, at)
    CROSS JOIN LATERAL (
        SELECT h.*
        FROM {schema}.memory_data AS h
        WHERE h.user_id = p_user AND h.node_id = p_node AND h.key = g.key
        LIMIT 1
    ) AS d
    WHERE d.expires_at IS NULL OR d.expires_at > now
    ORDER BY g.at;
END $$;

-- As in 0005, but what expired meanwhile is not said to have been deleted.
CREATE OR REPLACE FUNCTION {schema}.delete_entry(
    p_user text, p_role text, p_node text, p_key text, p_version bigint,
    OUT deleted boolean, OUT current bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    DELETE FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
        AND (p_version IS NULL OR d.version = p_version)
    RETURNING d.expires_at IS NULL OR d.expires_at > clock_timestamp() INTO deleted;
    deleted := coalesce(deleted, false);
    IF NOT deleted AND p_version IS NOT NULL THEN
        SELECT d.version INTO current
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
            AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
    END IF;
END $$;
