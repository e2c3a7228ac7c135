-- Putting records back as they were elsewhere, with their times (V14).

-- Writes records, given column by column with what `stored` says of each, in a namespace that the
-- caller has locked.
CREATE FUNCTION {schema}.write_records(
    home {schema}.namespaces, stored {schema}.stored_record[],
    p_ids text[], p_contents text[], p_types text[], p_metadata text[], p_attributes text[],
    p_languages text[], p_digests bytea[],
    p_embeddings real[], p_originals real[], p_scaled boolean[],
    p_words text[], p_frequencies text[], p_word_counts integer[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.embeddings AS e (
        user_id, namespace_number, id, record_number, content, document_type, metadata,
        attributes, language, digest, created_at, updated_at, expires_at, embedding, original,
        words, word_count, index_dimensions)
    SELECT home.user_id, home.namespace_number, g.id, g.record_number, g.content, g.document_type,
        g.metadata::json, coalesce(g.attributes, g.metadata, '{}')::jsonb, g.language, g.digest,
        g.created_at, g.updated_at, g.expires_at,
        p_embeddings[(g.at - 1) * home.dimensions + 1 : g.at * home.dimensions]::{vector}.vector,
        CASE WHEN g.scaled THEN
            p_originals[(g.at - 1) * home.dimensions + 1 : g.at * home.dimensions] END,
        string_to_array(g.words, ' '), g.word_count, home.index_dimensions
    FROM ROWS FROM (unnest(stored), unnest(p_ids), unnest(p_contents), unnest(p_types),
            unnest(p_metadata), unnest(p_attributes), unnest(p_languages), unnest(p_digests),
            unnest(p_scaled), unnest(p_words), unnest(p_word_counts))
        WITH ORDINALITY AS g (outcome, record_number, created_at, updated_at, expires_at,
            old_number, old_words, old_word_count, id, content, document_type, metadata,
            attributes, language, digest, scaled, words, word_count, at)
    WHERE g.outcome <> 'unchanged'
    ON CONFLICT (user_id, namespace_number, id) DO UPDATE
    SET record_number = excluded.record_number,
        content = excluded.content,
        document_type = excluded.document_type,
        metadata = excluded.metadata,
        attributes = excluded.attributes,
        language = excluded.language,
        digest = excluded.digest,
        created_at = excluded.created_at,
        updated_at = excluded.updated_at,
        expires_at = excluded.expires_at,
        embedding = excluded.embedding,
        original = excluded.original,
        words = excluded.words,
        word_count = excluded.word_count,
        index_dimensions = excluded.index_dimensions;

    -- An updated record has a new number, so that its old words and its new ones do not meet.
    DELETE FROM {schema}.embedding_words AS w
    WHERE w.user_id = home.user_id AND w.ctid = ANY (ARRAY(
        SELECT old.ctid
        FROM unnest(stored) AS o, unnest(o.old_words) AS word
        CROSS JOIN LATERAL (
            SELECT p.ctid
            FROM {schema}.embedding_words AS p
            WHERE p.user_id = home.user_id AND p.namespace_number = home.namespace_number
                AND p.word = word AND p.record_number = o.old_number
            LIMIT 1
        ) AS old
        WHERE o.outcome <> 'unchanged'));
    INSERT INTO {schema}.embedding_words (
        user_id, namespace_number, word, record_number, frequency)
    SELECT home.user_id, home.namespace_number, w.word, g.record_number, w.frequency
    FROM ROWS FROM (unnest(stored), unnest(p_words), unnest(p_frequencies))
        AS g (outcome, record_number, created_at, updated_at, expires_at, old_number, old_words,
            old_word_count, words, frequencies)
    CROSS JOIN LATERAL unnest(string_to_array(g.words, ' '),
        string_to_array(g.frequencies, ' ')::integer[]) AS w (word, frequency)
    WHERE g.outcome <> 'unchanged';

    UPDATE {schema}.namespaces AS s
    SET records = s.records + change.records, words = s.words + change.words
    FROM (
        SELECT count(*) FILTER (WHERE g.old_number IS NULL) AS records,
            sum(g.word_count - coalesce(g.old_word_count, 0)) AS words
        FROM ROWS FROM (unnest(stored), unnest(p_word_counts))
            AS g (outcome, record_number, created_at, updated_at, expires_at, old_number,
                old_words, old_word_count, word_count)
        WHERE g.outcome <> 'unchanged'
        HAVING count(*) > 0
    ) AS change
    WHERE s.user_id = home.user_id AND s.node_id = home.node_id AND s.namespace = home.namespace;
END $$;

-- Locks a namespace, which is bound to the space, or made.
CREATE FUNCTION {schema}.lock_namespace(
    p_user text, p_node text, p_namespace text, p_model text, p_dimensions integer
) RETURNS {schema}.namespaces
LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
BEGIN
    LOOP
        SELECT s.* INTO home
        FROM {schema}.namespaces AS s
        WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace
        FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO {schema}.namespaces (user_id, node_id, namespace, model, dimensions)
        VALUES (p_user, p_node, p_namespace, p_model, p_dimensions)
        ON CONFLICT DO NOTHING;
    END LOOP;
    PERFORM {schema}.check_space(home, p_model, p_dimensions);
    RETURN home;
END $$;

-- As in 0007, in parts that restoring shares.
CREATE OR REPLACE FUNCTION {schema}.store_records(
    p_user text, p_role text, p_node text, p_namespace text, p_model text, p_dimensions integer,
    p_ids text[], p_contents text[], p_types text[], p_metadata text[], p_attributes text[],
    p_languages text[], p_digests bytea[], p_ttls bigint[],
    p_embeddings real[], p_originals real[], p_scaled boolean[],
    p_words text[], p_frequencies text[], p_word_counts integer[]
) RETURNS TABLE (
    outcome text, created_at timestamptz, updated_at timestamptz, expires_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    home {schema}.namespaces;
    now timestamptz;
    stored {schema}.stored_record[];
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    home := {schema}.lock_namespace(p_user, p_node, p_namespace, p_model, p_dimensions);
    now := {schema}.now_ms();

    -- What is there, and so what is to be done; nobody else writes here meanwhile.
    SELECT array_agg(ROW(
            CASE WHEN b.digest = g.digest AND b.expires_at IS NULL AND g.ttl IS NULL
                    THEN 'unchanged'
                WHEN b.id IS NULL OR b.expires_at <= now THEN 'inserted'
                ELSE 'updated' END,
            nextval('{schema}.record_numbers'),
            CASE WHEN b.id IS NULL OR b.expires_at <= now THEN now ELSE b.created_at END,
            CASE WHEN b.digest = g.digest AND b.expires_at IS NULL AND g.ttl IS NULL
                THEN b.updated_at ELSE now END,
            now + make_interval(secs => g.ttl / 1000.0),
            b.record_number, b.words, b.word_count
        )::{schema}.stored_record ORDER BY g.at)
    INTO stored
    FROM unnest(p_ids, p_digests, p_ttls) WITH ORDINALITY AS g (id, digest, ttl, at)
    LEFT JOIN LATERAL (
        SELECT e.*
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number AND e.id = g.id
        LIMIT 1
    ) AS b ON true;

    PERFORM {schema}.write_records(home, stored, p_ids, p_contents, p_types, p_metadata,
        p_attributes, p_languages, p_digests, p_embeddings, p_originals, p_scaled, p_words,
        p_frequencies, p_word_counts);

    RETURN QUERY
    SELECT o.outcome, o.created_at, o.updated_at, o.expires_at
    FROM unnest(stored) WITH ORDINALITY AS o (outcome, record_number, created_at, updated_at,
        expires_at, old_number, old_words, old_word_count, at)
    ORDER BY o.at;
END $$;

-- Puts records back, given as `store_records` takes them, with their times. `differs` is the first
-- that is there, differs, and is not to be overwritten; then nothing is changed.
CREATE FUNCTION {schema}.restore_records(
    p_user text, p_role text, p_node text, p_namespace text, p_model text, p_dimensions integer,
    p_ids text[], p_contents text[], p_types text[], p_metadata text[], p_attributes text[],
    p_languages text[], p_digests bytea[],
    p_embeddings real[], p_originals real[], p_scaled boolean[],
    p_words text[], p_frequencies text[], p_word_counts integer[],
    p_created timestamptz[], p_updated timestamptz[], p_expires timestamptz[], p_overwrite boolean,
    OUT written bigint, OUT differs text
) LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    now timestamptz;
    stored {schema}.stored_record[];
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    home := {schema}.lock_namespace(p_user, p_node, p_namespace, p_model, p_dimensions);
    now := {schema}.now_ms();

    -- The digest is of all that makes a record the same but its times.
    SELECT array_agg(ROW(
            CASE WHEN b.id IS NULL OR b.expires_at <= now THEN 'inserted'
                WHEN b.digest = g.digest AND b.created_at = g.created_at
                    AND b.updated_at = g.updated_at
                    AND b.expires_at IS NOT DISTINCT FROM g.expires_at THEN 'unchanged'
                WHEN p_overwrite THEN 'updated'
                ELSE 'differs' END,
            nextval('{schema}.record_numbers'), g.created_at, g.updated_at, g.expires_at,
            b.record_number, b.words, b.word_count
        )::{schema}.stored_record ORDER BY g.at)
    INTO stored
    FROM unnest(p_ids, p_digests, p_created, p_updated, p_expires)
        WITH ORDINALITY AS g (id, digest, created_at, updated_at, expires_at, at)
    LEFT JOIN LATERAL (
        SELECT e.*
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number AND e.id = g.id
        LIMIT 1
    ) AS b ON true;

    SELECT count(*) FILTER (WHERE o.outcome <> 'unchanged'),
        (array_agg(p_ids[o.at] ORDER BY o.at) FILTER (WHERE o.outcome = 'differs'))[1]
    INTO written, differs
    FROM unnest(stored) WITH ORDINALITY AS o (outcome, record_number, created_at, updated_at,
        expires_at, old_number, old_words, old_word_count, at);
    IF differs IS NULL AND written > 0 THEN
        PERFORM {schema}.write_records(home, stored, p_ids, p_contents, p_types, p_metadata,
            p_attributes, p_languages, p_digests, p_embeddings, p_originals, p_scaled, p_words,
            p_frequencies, p_word_counts);
    END IF;
END $$;
