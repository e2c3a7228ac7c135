-- What made storing a batch slow. Words go by their places (ctid), which are looked up first: in one
-- statement with the look-up, and planned while the table is empty, Postgres thought it cheaper to go
-- through all words of the user. And numbers are cut from a flat array: a function holds an argument
-- in another form, of which every cut made a flat copy of the whole.

-- Removes a user's words at these places, whatever the planner thinks of going there.
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

-- As in 0008, but for how words go.
CREATE OR REPLACE FUNCTION {schema}.remove_records(
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

-- As in 0013, but for how words go and how numbers are cut.
CREATE OR REPLACE FUNCTION {schema}.write_records(
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
