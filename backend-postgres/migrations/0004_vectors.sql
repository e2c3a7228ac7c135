-- Vectors. Whoever writes in a namespace holds its row, so that batches cannot deadlock and its
-- totals stay right; whoever reads waits for nobody.

-- A record as it is read.
CREATE TYPE {schema}.read_record AS (
    id text, content text, document_type text, metadata text, language text,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz,
    embedding real[], score float8, similarity real
);

-- What storing a record did, and what was there before.
CREATE TYPE {schema}.stored_record AS (
    outcome text, record_number bigint,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz,
    old_number bigint, old_words text[], old_word_count integer
);

-- Refuses another embedding space than the namespace's (V3). AM001 is the driver's to read.
CREATE FUNCTION {schema}.check_space(
    home {schema}.namespaces, p_model text, p_dimensions integer
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF home.model <> p_model OR home.dimensions <> p_dimensions THEN
        RAISE EXCEPTION USING ERRCODE = 'AM001', MESSAGE = format(
            'the namespace "%s" holds embeddings of %s (%s dimensions), not of %s (%s dimensions)',
            home.namespace, home.model, home.dimensions, p_model, p_dimensions);
    END IF;
END $$;

-- Stores records, given column by column; their ids differ. `p_embeddings` holds all embeddings
-- one behind the other; so does `p_originals`, where any was scaled. `p_words` and `p_frequencies`
-- hold each record's distinct words and how often they occur, parted by spaces. Answers in the
-- given order.
CREATE FUNCTION {schema}.store_records(
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

    INSERT INTO {schema}.embeddings AS e (
        user_id, namespace_number, id, record_number, content, document_type, metadata,
        attributes, language, digest, created_at, updated_at, expires_at, embedding, original,
        words, word_count)
    SELECT p_user, home.namespace_number, g.id, g.record_number, g.content, g.document_type,
        g.metadata::json, coalesce(g.attributes, g.metadata, '{}')::jsonb, g.language, g.digest,
        g.created_at, g.updated_at, g.expires_at,
        p_embeddings[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions]::{vector}.vector,
        CASE WHEN g.scaled THEN
            p_originals[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions] END,
        string_to_array(g.words, ' '), g.word_count
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
        word_count = excluded.word_count;

    -- An updated record has a new number, so that its old words and its new ones do not meet.
    DELETE FROM {schema}.embedding_words AS w
    WHERE w.ctid = ANY (ARRAY(
        SELECT old.ctid
        FROM unnest(stored) AS o, unnest(o.old_words) AS word
        CROSS JOIN LATERAL (
            SELECT p.ctid
            FROM {schema}.embedding_words AS p
            WHERE p.user_id = p_user AND p.namespace_number = home.namespace_number
                AND p.word = word AND p.record_number = o.old_number
            LIMIT 1
        ) AS old
        WHERE o.outcome <> 'unchanged'));
    INSERT INTO {schema}.embedding_words (
        user_id, namespace_number, word, record_number, frequency)
    SELECT p_user, home.namespace_number, w.word, g.record_number, w.frequency
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
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;

    RETURN QUERY
    SELECT o.outcome, o.created_at, o.updated_at, o.expires_at
    FROM unnest(stored) WITH ORDINALITY AS o (outcome, record_number, created_at, updated_at,
        expires_at, old_number, old_words, old_word_count, at)
    ORDER BY o.at;
END $$;

-- Removes records whose namespace the caller has locked, and all that belongs to them.
CREATE FUNCTION {schema}.remove_records(
    home {schema}.namespaces, p_numbers bigint[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (
        DELETE FROM {schema}.embeddings AS e
        WHERE e.user_id = home.user_id AND e.record_number = ANY (p_numbers)
        RETURNING e.record_number, e.words, e.word_count
    ), unlinked AS (
        DELETE FROM {schema}.embedding_words AS w
        WHERE w.ctid = ANY (ARRAY(
            SELECT old.ctid
            FROM gone, unnest(gone.words) AS word
            CROSS JOIN LATERAL (
                SELECT p.ctid
                FROM {schema}.embedding_words AS p
                WHERE p.user_id = home.user_id AND p.namespace_number = home.namespace_number
                    AND p.word = word AND p.record_number = gone.record_number
                LIMIT 1
            ) AS old))
    )
    UPDATE {schema}.namespaces AS s
    SET records = s.records - change.records, words = s.words - change.words
    FROM (SELECT count(*) AS records, coalesce(sum(gone.word_count), 0) AS words FROM gone) AS change
    WHERE s.user_id = home.user_id AND s.node_id = home.node_id AND s.namespace = home.namespace;
END $$;

-- Deletes records by id, or those that pass `p_filter`, or the namespace with all of them, and
-- says how many had not expired. `p_filter` is a condition that the driver wrote over the columns
-- of a record and `p_operands`; what users give is in `p_operands` alone.
CREATE FUNCTION {schema}.delete_records(
    p_user text, p_role text, p_node text, p_namespace text,
    p_ids text[], p_filter text, p_operands text[],
    OUT deleted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    now timestamptz := clock_timestamp();
    numbers bigint[];
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    deleted := 0;
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
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

-- Reads records by id, in the order of the ids.
CREATE FUNCTION {schema}.get_records(
    p_user text, p_role text, p_node text, p_namespace text, p_ids text[], p_embeddings boolean
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT e.id, e.content, e.document_type, e.metadata::text, e.language, e.created_at,
        e.updated_at, e.expires_at,
        CASE WHEN p_embeddings THEN coalesce(e.original, e.embedding::real[]) END,
        NULL::float8, NULL::real
    FROM unnest(p_ids) WITH ORDINALITY AS g (id, at)
    CROSS JOIN LATERAL (
        SELECT r.*
        FROM {schema}.embeddings AS r
        WHERE r.user_id = p_user
            AND r.namespace_number = (
                SELECT s.namespace_number
                FROM {schema}.namespaces AS s
                WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace)
            AND r.id = g.id
        LIMIT 1
    ) AS e
    WHERE e.expires_at IS NULL OR e.expires_at > clock_timestamp()
    ORDER BY g.at;
END $$;

-- The records that pass, by id, behind `p_behind`.
CREATE FUNCTION {schema}.scan_records(
    p_user text, p_role text, p_node text, p_namespace text, p_filter text, p_operands text[],
    p_embeddings boolean, p_behind text, p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY EXECUTE format($query$
        SELECT e.id, e.content, e.document_type, e.metadata::text, e.language, e.created_at,
            e.updated_at, e.expires_at,
            CASE WHEN $5 THEN coalesce(e.original, e.embedding::real[]) END,
            NULL::float8, NULL::real
        FROM {schema}.embeddings AS e
        WHERE e.user_id = $2
            AND e.namespace_number = (
                SELECT s.namespace_number FROM {schema}.namespaces AS s
                WHERE s.user_id = $2 AND s.node_id = $3 AND s.namespace = $4)
            AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
            AND e.id > $6
            AND %s
        ORDER BY e.id
        LIMIT $7
        $query$, p_filter)
    USING p_operands, p_user, p_node, p_namespace, p_embeddings, p_behind, p_limit;
END $$;

CREATE FUNCTION {schema}.count_records(
    p_user text, p_role text, p_node text, p_namespace text, p_filter text, p_operands text[],
    OUT records bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    EXECUTE format($query$
        SELECT count(*)
        FROM {schema}.embeddings AS e
        WHERE e.user_id = $2
            AND e.namespace_number = (
                SELECT s.namespace_number FROM {schema}.namespaces AS s
                WHERE s.user_id = $2 AND s.node_id = $3 AND s.namespace = $4)
            AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
            AND %s
        $query$, p_filter)
    INTO records
    USING p_operands, p_user, p_node, p_namespace;
END $$;

-- A page of the scope's namespaces behind `p_behind`, expired records not counted.
CREATE FUNCTION {schema}.list_namespaces(
    p_user text, p_role text, p_node text, p_behind text, p_limit bigint
) RETURNS TABLE (namespace text, model text, dimensions integer, records bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT s.namespace, s.model, s.dimensions, s.records - (
        SELECT count(*)
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = s.namespace_number
            AND e.expires_at <= clock_timestamp())
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node
        AND s.namespace > p_behind
    ORDER BY s.namespace
    LIMIT p_limit;
END $$;

-- The nearest records. Planned anew for every call (EXECUTE), with the filter and the sizes at
-- hand. Similarities are rounded to 32 bits before they are compared or ordered, as they are
-- reported, so that the threshold includes itself and equal ones go by id.
CREATE FUNCTION {schema}.search(
    p_user text, p_role text, p_node text, p_namespace text, p_model text, p_dimensions integer,
    p_query real[], p_min real, p_filter text, p_operands text[], p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM {schema}.check_space(home, p_model, p_dimensions);
    RETURN QUERY EXECUTE format($query$
        SELECT e.id, e.content, e.document_type, e.metadata::text, e.language, e.created_at,
            e.updated_at, e.expires_at, NULL::real[], best.similarity::float8, best.similarity
        FROM (
            SELECT near.record_number, near.id, near.similarity
            FROM (
                SELECT e.record_number, e.id, (1 - (e.embedding OPERATOR({vector}.<=>) $4))::real AS similarity
                FROM {schema}.embeddings AS e
                WHERE e.user_id = $2 AND e.namespace_number = $3
                    AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
                    AND %s
                OFFSET 0
            ) AS near
            WHERE $5 IS NULL OR near.similarity >= $5
            ORDER BY near.similarity DESC, near.id
            LIMIT $6
        ) AS best
        CROSS JOIN LATERAL (
            SELECT r.* FROM {schema}.embeddings AS r
            WHERE r.user_id = $2 AND r.record_number = best.record_number
            LIMIT 1
        ) AS e
        ORDER BY best.similarity DESC, best.id
        $query$, p_filter)
    USING p_operands, p_user, home.namespace_number, p_query::{vector}.vector, p_min, p_limit;
END $$;

-- The records with any of the words, by BM25 over the namespace's live records. Expired ones are
-- in the namespace's totals until they are purged, and are taken off here.
CREATE FUNCTION {schema}.search_text(
    p_user text, p_role text, p_node text, p_namespace text,
    p_words text[], p_k1 float8, p_b float8,
    p_model text, p_dimensions integer, p_query real[], p_min real,
    p_filter text, p_operands text[], p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_query IS NOT NULL THEN
        PERFORM {schema}.check_space(home, p_model, p_dimensions);
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH corpus AS (
            SELECT s.records - expired.records AS records,
                (s.words - expired.words)::float8
                    / nullif(s.records - expired.records, 0) AS mean_length
            FROM {schema}.namespaces AS s
            CROSS JOIN (
                SELECT count(*) AS records, coalesce(sum(e.word_count), 0) AS words
                FROM {schema}.embeddings AS e
                WHERE e.user_id = $2 AND e.namespace_number = $3 AND e.expires_at <= $7
            ) AS expired
            WHERE s.user_id = $2 AND s.namespace_number = $3
                AND s.node_id = $8 AND s.namespace = $9
        ), found AS MATERIALIZED (
            SELECT asked.at, p.record_number, p.frequency::float8 AS frequency, e.word_count
            FROM unnest($10::text[]) WITH ORDINALITY AS asked (word, at)
            CROSS JOIN LATERAL (
                SELECT w.record_number, w.frequency
                FROM {schema}.embedding_words AS w
                WHERE w.user_id = $2 AND w.namespace_number = $3 AND w.word = asked.word
                OFFSET 0
            ) AS p
            CROSS JOIN LATERAL (
                SELECT r.word_count, r.expires_at
                FROM {schema}.embeddings AS r
                WHERE r.user_id = $2 AND r.record_number = p.record_number
                LIMIT 1
            ) AS e
            WHERE e.expires_at IS NULL OR e.expires_at > $7
        ), rarity AS (
            SELECT found.at,
                ln(1 + (max(corpus.records) - count(*) + 0.5::float8) / (count(*) + 0.5::float8))
                    AS idf
            FROM found CROSS JOIN corpus
            GROUP BY found.at
        ), scored AS (
            SELECT found.record_number,
                sum(rarity.idf * (found.frequency * ($11 + 1)
                    / (found.frequency
                        + $11 * (1 - $12 + $12 * found.word_count / corpus.mean_length)))
                    ORDER BY found.at) AS score
            FROM found
            JOIN rarity ON rarity.at = found.at
            CROSS JOIN corpus
            GROUP BY found.record_number
        ), candidates AS (
            SELECT e.record_number, e.id, scored.score,
                (1 - (e.embedding OPERATOR({vector}.<=>) $4))::real AS similarity
            FROM scored
            CROSS JOIN LATERAL (
                SELECT r.* FROM {schema}.embeddings AS r
                WHERE r.user_id = $2 AND r.record_number = scored.record_number
                LIMIT 1
            ) AS e
            WHERE %s
            OFFSET 0
        ), best AS (
            SELECT candidates.*
            FROM candidates
            WHERE $5 IS NULL OR candidates.similarity >= $5
            ORDER BY candidates.score DESC, candidates.id
            LIMIT $6
        )
        SELECT e.id, e.content, e.document_type, e.metadata::text, e.language, e.created_at,
            e.updated_at, e.expires_at, NULL::real[], best.score, best.similarity
        FROM best
        CROSS JOIN LATERAL (
            SELECT r.* FROM {schema}.embeddings AS r
            WHERE r.user_id = $2 AND r.record_number = best.record_number
            LIMIT 1
        ) AS e
        ORDER BY best.score DESC, best.id
        $query$, p_filter)
    USING p_operands, p_user, home.namespace_number, p_query::{vector}.vector, p_min, p_limit,
        clock_timestamp(), p_node, p_namespace, p_words, p_k1, p_b;
END $$;
