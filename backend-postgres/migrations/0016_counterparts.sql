-- As in 0010; but metadata is the same in any order of its keys (V13).
CREATE OR REPLACE FUNCTION {schema}.rebind_namespace(
    p_user text, p_role text, p_node text, p_namespace text, p_from text,
    OUT records bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    home {schema}.namespaces;
    source {schema}.namespaces;
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
