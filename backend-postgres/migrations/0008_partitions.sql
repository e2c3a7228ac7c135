-- Tables partitioned by user: a row's place (ctid) says which row it is within one partition only, so
-- that whoever goes by it says besides what is meant.

-- Removes records whose namespace the caller has locked, and all that belongs to them.
CREATE OR REPLACE FUNCTION {schema}.remove_records(
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
        WHERE w.user_id = home.user_id AND w.ctid = ANY (ARRAY(
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

-- Removes up to `p_limit` expired entries that nobody is at work on, and says how many.
CREATE OR REPLACE FUNCTION {schema}.purge_entries(p_limit bigint, OUT purged bigint)
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
END $$;
