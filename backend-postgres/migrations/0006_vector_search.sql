-- Reading and searching vectors. Whoever reads waits for nobody.

-- Reads records by id, in the order of the ids.
CREATE FUNCTION {schema}.get_records(
    p_user text, p_role text, p_node text, p_namespace text, p_ids text[], p_embeddings boolean
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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

-- The records that pass, by id, after `p_after`.
CREATE FUNCTION {schema}.scan_records(
    p_user text, p_role text, p_node text, p_namespace text, p_filter text, p_operands text[],
    p_embeddings boolean, p_after text, p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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
    USING p_operands, p_user, p_node, p_namespace, p_embeddings, p_after, p_limit;
END $$;

-- Counts the records that pass.
CREATE FUNCTION {schema}.count_records(
    p_user text, p_role text, p_node text, p_namespace text, p_filter text, p_operands text[],
    OUT records bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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

-- A page of the scope's namespaces after `p_after`, expired records not counted.
CREATE FUNCTION {schema}.list_namespaces(
    p_user text, p_role text, p_node text, p_after text, p_limit bigint
) RETURNS TABLE (namespace text, model text, dimensions integer, records bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    RETURN QUERY
    SELECT s.namespace, s.model, s.dimensions, s.records - (
        SELECT count(*)
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = s.namespace_number
            AND e.expires_at <= clock_timestamp())
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node
        AND s.namespace > p_after
    ORDER BY s.namespace
    LIMIT p_limit;
END $$;

-- The distance of a record `e` to a query as the index of these dimensions has it: in half
-- precision where there are more than an index takes in single. The text of an expression.
CREATE FUNCTION {schema}.distance(p_dimensions integer, p_query text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_dimensions <= 2000
        THEN format('((e.embedding::{vector}.vector(%1$s)) OPERATOR({vector}.<=>) %2$s::{vector}.vector(%1$s))',
            p_dimensions, p_query)
        ELSE format('(({vector}.l2_normalize(e.embedding)::{vector}.halfvec(%1$s)) OPERATOR({vector}.<=>)
            {vector}.l2_normalize(%2$s)::{vector}.halfvec(%1$s))', p_dimensions, p_query)
        END
$$;

-- The nearest records. Exact up to 20,000 that match (V7). Beyond, where the namespace is indexed,
-- the index gives candidates, four times as many as are asked for, and goes on until it has them or
-- has seen `hnsw.max_scan_tuples`; if that leaves fewer hits than there are, a last row without
-- values says so. The similarities are always those of the whole embeddings, rounded to 32 bits
-- before they are compared or ordered, as they are reported, so that the threshold includes itself
-- and equal ones go by id. Planned again for every call (EXECUTE), with filter and sizes at hand.
-- STABLE, it reads the namespace and then its records as they were when it began, so that no
-- rebinding (V13) can come in between.
CREATE FUNCTION {schema}.search(
    p_user text, p_role text, p_node text, p_namespace text, p_model text, p_dimensions integer,
    p_query real[], p_min real, p_filter text, p_operands text[], p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql STABLE AS $$
DECLARE
    home {schema}.namespaces;
    few CONSTANT bigint := 20000;
    live bigint;
    candidates bigint[];
    is_scanned boolean := false;
    farthest real;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM {schema}.check_space(home, p_model, p_dimensions);

    IF home.is_indexed AND home.records > few AND p_limit <= 1000 THEN
        SELECT home.records - count(*) INTO live
        FROM {schema}.embeddings AS e
        WHERE e.user_id = p_user AND e.namespace_number = home.namespace_number
            AND e.expires_at <= clock_timestamp();
    END IF;
    IF live IS NULL OR live <= few THEN
        RETURN QUERY EXECUTE format($query$
            SELECT e.id, e.content, e.document_type, e.metadata::text, e.language, e.created_at,
                e.updated_at, e.expires_at, NULL::real[], best.similarity::float8, best.similarity
            FROM (
                SELECT near.record_number, near.id, near.similarity
                FROM (
                    SELECT e.record_number, e.id,
                        (1 - (e.embedding OPERATOR({vector}.<=>) $4))::real AS similarity
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
        RETURN;
    END IF;

    -- What matches, where that may be few.
    IF p_filter <> 'true' THEN
        EXECUTE format($query$
            SELECT coalesce(array_agg(matching.record_number), '{}')
            FROM (
                SELECT e.record_number
                FROM {schema}.embeddings AS e
                WHERE e.user_id = $2 AND e.namespace_number = $3
                    AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
                    AND %s
                LIMIT $4 + 1
            ) AS matching
            $query$, p_filter)
        INTO candidates
        USING p_operands, p_user, home.namespace_number, few;
    END IF;

    IF candidates IS NULL OR cardinality(candidates) > few THEN
        -- Sorting would be the other way to find the nearest.
        PERFORM set_config('enable_sort', 'off', true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.ef_search', least(1000, greatest(200, 4 * p_limit))::text, true);
        EXECUTE format($query$
            SELECT coalesce(array_agg(near.record_number), '{}'), 1 - max(near.distance)
            FROM (
                SELECT e.record_number, %2$s AS distance
                FROM {schema}.embeddings AS e
                WHERE e.user_id = $2 AND e.namespace_number = $3 AND e.index_dimensions = %3$s
                    AND (e.expires_at IS NULL OR e.expires_at > clock_timestamp())
                    AND %1$s
                ORDER BY %2$s
                LIMIT $5
            ) AS near
            $query$, p_filter, {schema}.distance(home.dimensions, '$4'), home.dimensions)
        INTO candidates, farthest
        USING p_operands, p_user, home.namespace_number, p_query::{vector}.vector, 4 * p_limit;
        PERFORM set_config('enable_sort', 'on', true);
        is_scanned := true;
    END IF;

    RETURN QUERY
    SELECT best.id, best.content, best.document_type, best.metadata::text, best.language,
        best.created_at, best.updated_at, best.expires_at, NULL::real[],
        best.similarity::float8, best.similarity
    FROM (
        SELECT near.*
        FROM (
            SELECT r.*,
                (1 - (r.embedding OPERATOR({vector}.<=>) p_query::{vector}.vector))::real
                    AS similarity
            FROM unnest(candidates) AS candidate (record_number)
            CROSS JOIN LATERAL (
                SELECT e.* FROM {schema}.embeddings AS e
                WHERE e.user_id = p_user AND e.record_number = candidate.record_number
                LIMIT 1
            ) AS r
            OFFSET 0
        ) AS near
        WHERE p_min IS NULL OR near.similarity >= p_min
        ORDER BY near.similarity DESC, near.id
        LIMIT p_limit
    ) AS best
    ORDER BY best.similarity DESC, best.id;

    -- After a scan of the index more than 20,000 match.
    IF is_scanned AND cardinality(candidates) < p_limit
        AND (p_min IS NULL OR farthest IS NULL OR farthest >= p_min)
    THEN
        RETURN NEXT NULL;
    END IF;
END $$;

-- The records with any of the words, by BM25 over the namespace's live records. Expired ones are
-- in the namespace's totals until they are purged, and are taken off here.
-- STABLE, it reads the namespace and then its records as they were when it began, so that no
-- rebinding (V13) can come in between.
CREATE FUNCTION {schema}.search_text(
    p_user text, p_role text, p_node text, p_namespace text,
    p_words text[], p_k1 float8, p_b float8,
    p_model text, p_dimensions integer, p_query real[], p_min real,
    p_filter text, p_operands text[], p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql STABLE AS $$
DECLARE
    home {schema}.namespaces;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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
