-- Namespaces that outgrow exact search. `memquill index` puts their records into an index of
-- their dimensions, `embeddings_nearest_N`, which holds nothing else: what is small is searched
-- exactly, and costs no index anything.

ALTER TABLE {schema}.namespaces
    -- What the namespace's records get as their `index_dimensions` from now on.
    ADD COLUMN index_dimensions integer,
    -- Whether all of its records are in the index, which then serves its searches.
    ADD COLUMN is_indexed boolean NOT NULL DEFAULT false;

ALTER TABLE {schema}.embeddings
    -- The dimensions of the index that the record is in; none where it is in none.
    ADD COLUMN index_dimensions integer;

-- Stores records, given column by column; their ids differ. `p_embeddings` holds all embeddings
-- one behind the other; so does `p_originals`, where any was scaled. `p_words` and `p_frequencies`
-- hold each record's distinct words and how often they occur, parted by spaces. Answers in the
-- given order.
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
        words, word_count, index_dimensions)
    SELECT p_user, home.namespace_number, g.id, g.record_number, g.content, g.document_type,
        g.metadata::json, coalesce(g.attributes, g.metadata, '{}')::jsonb, g.language, g.digest,
        g.created_at, g.updated_at, g.expires_at,
        p_embeddings[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions]::{vector}.vector,
        CASE WHEN g.scaled THEN
            p_originals[(g.at - 1) * p_dimensions + 1 : g.at * p_dimensions] END,
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
    WHERE w.user_id = p_user AND w.ctid = ANY (ARRAY(
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
-- and equal ones go by id. Planned anew for every call (EXECUTE), with filter and sizes at hand.
CREATE OR REPLACE FUNCTION {schema}.search(
    p_user text, p_role text, p_node text, p_namespace text, p_model text, p_dimensions integer,
    p_query real[], p_min real, p_filter text, p_operands text[], p_limit bigint
) RETURNS SETOF {schema}.read_record
LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    few CONSTANT bigint := 20000;
    live bigint;
    candidates bigint[];
    is_scanned boolean := false;
    farthest real;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
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

-- Administration: what `memquill index` does.

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

-- Marks up to `p_limit` records behind `p_behind` for the index, and says which was the last; none
-- where there are no more. What is stored meanwhile is marked as it is stored.
CREATE FUNCTION {schema}.mark_records(
    p_user text, p_number bigint, p_behind text, p_limit bigint, OUT last text
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
        WHERE e.user_id = p_user AND e.namespace_number = p_number AND e.id > p_behind
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
