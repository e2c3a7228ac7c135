-- As in 0005, but a value that takes another's place is given its version when it does: the one that
-- came with the row is of before the wait for who held it, and may be lower than theirs.
CREATE OR REPLACE FUNCTION {schema}.put_entries(
    p_user text, p_role text, p_node text,
    p_keys text[], p_values text[], p_metadata text[], p_ttls bigint[], p_conditions bigint[]
) RETURNS TABLE (
    failed boolean, key text, version bigint,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    conditional boolean := cardinality(array_remove(p_conditions, NULL)) > 0;
    absent text[];
    failed record;
    written bigint;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    LOOP
        IF conditional THEN
            PERFORM FROM {schema}.memory_data AS d
            WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            ORDER BY d.key
            FOR UPDATE;
        END IF;
        now := {schema}.now_ms();
        IF conditional THEN
            SELECT g.key, coalesce(d.version, 0) AS version INTO failed
            FROM unnest(p_keys, p_conditions) WITH ORDINALITY AS g (key, wanted, at)
            LEFT JOIN LATERAL (
                SELECT h.version
                FROM {schema}.memory_data AS h
                WHERE h.user_id = p_user AND h.node_id = p_node AND h.key = g.key
                    AND (h.expires_at IS NULL OR h.expires_at > now)
                LIMIT 1
            ) AS d ON true
            WHERE g.wanted <> coalesce(d.version, 0)
            ORDER BY g.at
            LIMIT 1;
            IF FOUND THEN
                RETURN QUERY SELECT true, failed.key, failed.version, now, now, now;
                RETURN;
            END IF;
        END IF;
        absent := ARRAY(
            SELECT g.key FROM unnest(p_keys, p_conditions) AS g (key, wanted) WHERE g.wanted = 0);
        RETURN QUERY
        INSERT INTO {schema}.memory_data AS d (
            user_id, node_id, key, value, metadata, version, created_at, updated_at, expires_at)
        SELECT p_user, p_node, g.key, g.value::json, g.metadata::json,
            nextval('{schema}.entry_versions'), now, now, now + make_interval(secs => g.ttl / 1000.0)
        FROM unnest(p_keys, p_values, p_metadata, p_ttls) AS g (key, value, metadata, ttl)
        ORDER BY g.key COLLATE "C"
        ON CONFLICT (user_id, node_id, key) DO UPDATE
        SET value = excluded.value,
            metadata = excluded.metadata,
            version = nextval('{schema}.entry_versions'),
            created_at = CASE WHEN d.expires_at <= now THEN now ELSE d.created_at END,
            updated_at = now,
            expires_at = excluded.expires_at
        -- What was there at the look is locked; what was not may have come since.
        WHERE d.expires_at <= now OR d.key <> ALL (absent)
        RETURNING false, d.key, d.version, d.created_at, d.updated_at, d.expires_at;
        GET DIAGNOSTICS written = ROW_COUNT;
        EXIT WHEN written = cardinality(p_keys);
        IF written > 0 THEN
            -- The whole is undone, and the driver asks again.
            RAISE EXCEPTION USING ERRCODE = 'AM002', MESSAGE = 'another put came between';
        END IF;
    END LOOP;
END $$;
