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
    word_count integer, old_number bigint, old_words text[], old_word_count integer
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

    WITH given AS MATERIALIZED (
        SELECT g.*, nextval('{schema}.record_numbers') AS record_number
        FROM unnest(p_ids, p_contents, p_types, p_metadata, p_attributes, p_languages, p_digests,
                p_ttls, p_scaled, p_words, p_word_counts)
            WITH ORDINALITY AS g (id, content, document_type, metadata, attributes, language,
                digest, ttl, scaled, words, word_count, at)
    ), before AS (
        SELECT e.*
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
            AND e.id = ANY (p_ids)
    ), written AS (
        INSERT INTO {schema}.embeddings AS e (
            user_id, namespace_number, id, record_number, content, document_type, metadata,
            attributes, language, digest, created_at, updated_at, expires_at, embedding, original,
            words, word_count)
        SELECT p_user, home.namespace_number, g.id, g.record_number, g.content, g.document_type,
            g.metadata::json, coalesce(g.attributes, g.metadata, '{}')::jsonb, g.language, g.digest,
            now, now, now + make_interval(secs => g.ttl / 1000.0),
            p_embeddings[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions]::{vector}.vector,
            CASE WHEN g.scaled THEN
                p_originals[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions] END,
            string_to_array(g.words, ' '), g.word_count
        FROM given AS g
        ON CONFLICT (user_id, namespace_number, id) DO UPDATE
        SET record_number = excluded.record_number,
            content = excluded.content,
            document_type = excluded.document_type,
            metadata = excluded.metadata,
            attributes = excluded.attributes,
            language = excluded.language,
            digest = excluded.digest,
            created_at = CASE WHEN e.expires_at <= now THEN now ELSE e.created_at END,
            updated_at = now,
            expires_at = excluded.expires_at,
            embedding = excluded.embedding,
            original = excluded.original,
            words = excluded.words,
            word_count = excluded.word_count
        WHERE e.digest <> excluded.digest
            OR e.expires_at IS NOT NULL OR excluded.expires_at IS NOT NULL
        RETURNING e.id, e.created_at, e.updated_at, e.expires_at
    )
    SELECT array_agg(ROW(
            CASE WHEN w.id IS NULL THEN 'unchanged'
                WHEN b.id IS NULL OR b.expires_at <= now THEN 'inserted'
                ELSE 'updated' END,
            g.record_number,
            coalesce(w.created_at, b.created_at),
            coalesce(w.updated_at, b.updated_at),
            w.expires_at,
            g.word_count,
            CASE WHEN w.id IS NOT NULL THEN b.record_number END,
            CASE WHEN w.id IS NOT NULL THEN b.words END,
            CASE WHEN w.id IS NOT NULL THEN b.word_count END
        )::{schema}.stored_record ORDER BY g.at)
    INTO stored
    FROM given AS g
    LEFT JOIN before AS b ON b.id = g.id
    LEFT JOIN written AS w ON w.id = g.id;

    DELETE FROM {schema}.embedding_words AS p
    USING unnest(stored) AS s, unnest(s.old_words) AS old (word)
    WHERE p.user_id = p_user AND p.namespace_number = home.namespace_number
        AND p.word = old.word AND p.record_number = s.old_number;

    INSERT INTO {schema}.embedding_words (
        user_id, namespace_number, word, record_number, frequency)
    SELECT p_user, home.namespace_number, w.word, o.record_number, w.frequency
    FROM ROWS FROM (unnest(stored), unnest(p_words), unnest(p_frequencies))
        AS o (outcome, record_number, created_at, updated_at, expires_at, word_count, old_number,
            old_words, old_word_count, words, frequencies)
    CROSS JOIN LATERAL unnest(string_to_array(o.words, ' '),
        string_to_array(o.frequencies, ' ')::integer[]) AS w (word, frequency)
    WHERE o.outcome <> 'unchanged';

    UPDATE {schema}.namespaces AS s
    SET records = s.records + change.records, words = s.words + change.words
    FROM (
        SELECT count(*) FILTER (WHERE o.old_number IS NULL) AS records,
            sum(o.word_count - coalesce(o.old_word_count, 0)) AS words
        FROM unnest(stored) AS o
        WHERE o.outcome <> 'unchanged'
        HAVING count(*) > 0
    ) AS change
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;

    RETURN QUERY
    SELECT o.outcome, o.created_at, o.updated_at, o.expires_at
    FROM unnest(stored) WITH ORDINALITY AS o (outcome, record_number, created_at, updated_at,
        expires_at, word_count, old_number, old_words, old_word_count, at)
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
        WHERE e.user_id = home.user_id AND e.namespace_number = home.namespace_number
            AND e.record_number = ANY (p_numbers)
        RETURNING e.record_number, e.words, e.word_count
    ), unlinked AS (
        DELETE FROM {schema}.embedding_words AS p
        USING gone, unnest(gone.words) AS old (word)
        WHERE p.user_id = home.user_id AND p.namespace_number = home.namespace_number
            AND p.word = old.word AND p.record_number = gone.record_number
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
    JOIN {schema}.namespaces AS s
        ON s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace
    JOIN {schema}.embeddings AS e
        ON e.user_id = p_user AND e.namespace_number = s.namespace_number AND e.id = g.id
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
            SELECT near.id, near.similarity
            FROM (
                SELECT e.id, (1 - (e.embedding OPERATOR({vector}.<=>) $4))::real AS similarity
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
        JOIN {schema}.embeddings AS e
            ON e.user_id = $2 AND e.namespace_number = $3 AND e.id = best.id
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
            JOIN {schema}.embedding_words AS p
                ON p.user_id = $2 AND p.namespace_number = $3 AND p.word = asked.word
            JOIN {schema}.embeddings AS e
                ON e.user_id = $2 AND e.record_number = p.record_number
                AND e.namespace_number = $3
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
            SELECT e.id, scored.score,
                (1 - (e.embedding OPERATOR({vector}.<=>) $4))::real AS similarity
            FROM scored
            JOIN {schema}.embeddings AS e
                ON e.user_id = $2 AND e.record_number = scored.record_number
                AND e.namespace_number = $3
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
        JOIN {schema}.embeddings AS e
            ON e.user_id = $2 AND e.namespace_number = $3 AND e.id = best.id
        ORDER BY best.score DESC, best.id
        $query$, p_filter)
    USING p_operands, p_user, home.namespace_number, p_query::{vector}.vector, p_min, p_limit,
        clock_timestamp(), p_node, p_namespace, p_words, p_k1, p_b;
END $$;
