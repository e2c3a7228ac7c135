-- Writing vectors. Whoever writes in a namespace holds its row, so that batches cannot deadlock and
-- its totals stay right.

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

-- Refuses another embedding space than the namespace's (V3). MQ001 is the driver's to read.
CREATE FUNCTION {schema}.check_space(
    home {schema}.namespaces, p_model text, p_dimensions integer
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF home.model <> p_model OR home.dimensions <> p_dimensions THEN
        RAISE EXCEPTION USING ERRCODE = 'MQ001', MESSAGE = format(
            'the namespace "%s" holds embeddings of %s (%s dimensions), not of %s (%s dimensions)',
            home.namespace, home.model, home.dimensions, p_model, p_dimensions);
    END IF;
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

-- Removes a user's words at these places (ctid), whatever the planner thinks of going there: planned
-- while the table is empty, it thinks it cheaper to go through all words of the user. With partitions
-- a ctid names a row only together with the user.
CREATE FUNCTION {schema}.remove_words_at(p_user text, p_places tid[]) RETURNS void
LANGUAGE plpgsql SET enable_indexscan = off SET enable_bitmapscan = off AS $$
BEGIN
    DELETE FROM {schema}.embedding_words AS w
    WHERE w.user_id = p_user AND w.ctid = ANY (p_places);
END $$;

-- Removes words of a namespace that the caller has locked: each with the number of its record.
CREATE FUNCTION {schema}.remove_words(
    home {schema}.namespaces, p_numbers bigint[], p_words text[]
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_words IS NOT NULL THEN
        PERFORM {schema}.remove_words_at(home.user_id, ARRAY(
            SELECT held.ctid
            FROM unnest(p_numbers, p_words) AS gone (record_number, word)
            CROSS JOIN LATERAL (
                SELECT w.ctid
                FROM {schema}.embedding_words AS w
                WHERE w.user_id = home.user_id AND w.namespace_number = home.namespace_number
                    AND w.word = gone.word AND w.record_number = gone.record_number
                LIMIT 1
            ) AS held));
    END IF;
END $$;

-- Removes records whose namespace the caller has locked, and all that belongs to them.
CREATE FUNCTION {schema}.remove_records(
    home {schema}.namespaces, p_numbers bigint[]
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    gone_numbers bigint[];
    gone_words text[];
BEGIN
    WITH gone AS (
        DELETE FROM {schema}.embeddings AS e
        WHERE e.user_id = home.user_id AND e.record_number = ANY (p_numbers)
        RETURNING e.record_number, e.words, e.word_count
    ), counted AS (
        UPDATE {schema}.namespaces AS s
        SET records = s.records - change.records, words = s.words - change.words
        FROM (
            SELECT count(*) AS records, coalesce(sum(gone.word_count), 0) AS words FROM gone
        ) AS change
        WHERE s.user_id = home.user_id AND s.node_id = home.node_id
            AND s.namespace = home.namespace
    )
    SELECT array_agg(gone.record_number), array_agg(word) INTO gone_numbers, gone_words
    FROM gone, unnest(gone.words) AS word;
    PERFORM {schema}.remove_words(home, gone_numbers, gone_words);
END $$;

-- Writes records, given column by column with what `stored` says of each, in a namespace that the
-- caller has locked.
-- Embeddings are cut from a flat array: a function holds an argument in another form, of which every
-- cut would make a flat copy of the whole.
CREATE FUNCTION {schema}.write_records(
    home {schema}.namespaces, stored {schema}.stored_record[],
    p_ids text[], p_contents text[], p_types text[], p_metadata text[], p_attributes text[],
    p_languages text[], p_digests bytea[],
    p_embeddings real[], p_originals real[], p_scaled boolean[],
    p_words text[], p_frequencies text[], p_word_counts integer[]
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    gone_numbers bigint[];
    gone_words text[];
BEGIN
    INSERT INTO {schema}.embeddings AS e (
        user_id, namespace_number, id, record_number, content, document_type, metadata,
        attributes, language, digest, created_at, updated_at, expires_at, embedding, original,
        words, word_count, index_dimensions)
    SELECT home.user_id, home.namespace_number, g.id, g.record_number, g.content, g.document_type,
        g.metadata::json, coalesce(g.attributes, g.metadata, '{}')::jsonb, g.language, g.digest,
        g.created_at, g.updated_at, g.expires_at,
        (SELECT p_embeddings[:])[(g.at - 1) * home.dimensions + 1 : g.at * home.dimensions]
            ::{vector}.vector,
        CASE WHEN g.scaled THEN (SELECT p_originals[:])
            [(g.at - 1) * home.dimensions + 1 : g.at * home.dimensions] END,
        string_to_array(g.words, ' '), g.word_count, home.index_dimensions
    FROM ROWS FROM (unnest(stored), unnest(p_ids), unnest(p_contents), unnest(p_types),
            unnest(p_metadata), unnest(p_attributes), unnest(p_languages), unnest(p_digests),
            unnest(p_scaled), unnest(p_words), unnest(p_word_counts))
        WITH ORDINALITY AS g (outcome, record_number, created_at, updated_at, expires_at,
            old_number, old_words, old_word_count, id, content, document_type, metadata,
            attributes, language, digest, scaled, words, word_count, at)
    WHERE g.outcome <> 'unchanged'
    ON CONFLICT (user_id, namespace_number, id) DO UPDATE
    SET (record_number, content, document_type, metadata, attributes, language, digest,
            created_at, updated_at, expires_at, embedding, original, words, word_count,
            index_dimensions)
        = (excluded.record_number, excluded.content, excluded.document_type, excluded.metadata,
            excluded.attributes, excluded.language, excluded.digest, excluded.created_at,
            excluded.updated_at, excluded.expires_at, excluded.embedding, excluded.original,
            excluded.words, excluded.word_count, excluded.index_dimensions);

    -- An updated record has a new number, so that its old words and its new ones do not meet.
    SELECT array_agg(o.old_number), array_agg(word) INTO gone_numbers, gone_words
    FROM unnest(stored) AS o, unnest(o.old_words) AS word
    WHERE o.outcome <> 'unchanged';
    PERFORM {schema}.remove_words(home, gone_numbers, gone_words);
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

-- Stores records, given column by column; their ids differ. `p_embeddings` is all embeddings, one
-- after the other; so is `p_originals`, where any was scaled. `p_words` and `p_frequencies` are each
-- record's distinct words and how often they occur, separated by spaces. Answers in the given order.
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
    PERFORM {schema}.identity(p_user, p_role);
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
    PERFORM {schema}.identity(p_user, p_role);
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

-- Deletes records by id, or those that pass `p_filter`, or the namespace with all of them, and
-- says how many had not expired. `p_filter` is a condition that the driver wrote over the columns
-- of a record and `p_operands`; what users give is in `p_operands` alone.
-- A rebinding (V13) may end while this waits for the row of the namespace: that row is then gone, and
-- the one that took its name is not locked. The whole is undone, and the driver repeats the call.
CREATE FUNCTION {schema}.delete_records(
    p_user text, p_role text, p_node text, p_namespace text,
    p_ids text[], p_filter text, p_operands text[],
    OUT deleted bigint
) LANGUAGE plpgsql AS $$
DECLARE
    home {schema}.namespaces;
    now timestamptz;
    numbers bigint[];
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
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
            RAISE EXCEPTION USING ERRCODE = 'MQ002', MESSAGE = 'a rebinding of the namespace ended meanwhile';
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

-- Binds a namespace to the space of another, which takes its place (V13): the records of the other
-- get the times of their counterparts, and its name changes. Returns how many records there are.
-- Metadata is the same in any order of its keys. Both rows are locked; if another rebinding ended
-- while this waited, one of them is not, and the whole is undone and repeated by the driver. The
-- driver reads MQ003 (no such namespace) and MQ004 (records without a counterpart).
CREATE FUNCTION {schema}.rebind_namespace(
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
    PERFORM {schema}.identity(p_user, p_role);
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
        RAISE EXCEPTION USING ERRCODE = 'MQ002', MESSAGE = 'a rebinding of the namespace ended meanwhile';
    END IF;
    SELECT s.* INTO home
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_namespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MQ003',
            MESSAGE = format('there is no namespace "%s"', p_namespace);
    END IF;
    SELECT s.* INTO source
    FROM {schema}.namespaces AS s
    WHERE s.user_id = p_user AND s.node_id = p_node AND s.namespace = p_from;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MQ003',
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
        RAISE EXCEPTION USING ERRCODE = 'MQ004', MESSAGE = format(
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
