-- Putting entries back as they were elsewhere, with their versions and times (W9).

-- Raises the versions that entries are given to above a restored one, far enough that those given
-- meanwhile cannot be given again. Of the owner's rights, since a data role may only take the next
-- version; it can do no more than this, and the restored versions have an end.
CREATE FUNCTION {schema}.raise_versions(p_version bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_version > 1::bigint << 52 THEN
        RAISE EXCEPTION USING ERRCODE = '22003', MESSAGE = 'a version beyond 2^52';
    END IF;
    IF (SELECT s.last_value FROM {schema}.entry_versions AS s) >= p_version THEN
        RETURN;
    END IF;
    -- One at a time, so that none lowers what another raised: "am-versn" in ASCII.
    PERFORM pg_advisory_xact_lock(7020317380671861614);
    IF (SELECT s.last_value FROM {schema}.entry_versions AS s) < p_version THEN
        PERFORM setval('{schema}.entry_versions', p_version + 1048576);
    END IF;
END $$;

-- Puts entries back, given column by column. `differs` is the first that is there, differs, and is
-- not to be overwritten, `current` its version; then nothing is changed.
CREATE FUNCTION {schema}.restore_entries(
    p_user text, p_role text, p_node text,
    p_keys text[], p_values text[], p_metadata text[], p_versions bigint[],
    p_created timestamptz[], p_updated timestamptz[], p_expires timestamptz[], p_overwrite boolean,
    OUT written bigint, OUT differs text, OUT current bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    known text[];
    places integer[];
    held record;
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    -- Before anything is locked, so that no two wait for each other.
    PERFORM {schema}.raise_versions(max(version)) FROM unnest(p_versions) AS version;
    PERFORM FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
    ORDER BY d.key
    FOR UPDATE;
    now := {schema}.now_ms();
    places := '{}';
    FOR held IN
        SELECT g.at, p_keys[g.at] AS key, d.version, d.is_live, d.is_identical
        FROM generate_series(1, cardinality(p_keys)) AS g (at)
        LEFT JOIN LATERAL (
            SELECT h.version, h.expires_at IS NULL OR h.expires_at > now AS is_live,
                h.version = p_versions[g.at]
                    AND h.created_at = p_created[g.at] AND h.updated_at = p_updated[g.at]
                    AND h.expires_at IS NOT DISTINCT FROM p_expires[g.at]
                    AND {schema}.same_json(h.value, p_values[g.at]::json)
                    AND {schema}.same_json(h.metadata, p_metadata[g.at]::json) AS is_identical
            FROM {schema}.memory_data AS h
            WHERE h.user_id = p_user AND h.node_id = p_node AND h.key = p_keys[g.at]
            LIMIT 1
        ) AS d ON true
        ORDER BY g.at
    LOOP
        IF held.version IS NOT NULL THEN
            known := known || held.key;
        END IF;
        IF held.is_live AND NOT held.is_identical AND NOT p_overwrite THEN
            differs := held.key;
            current := held.version;
            RETURN;
        END IF;
        IF (held.is_live AND held.is_identical) IS NOT TRUE THEN
            places := places || held.at;
        END IF;
    END LOOP;

    INSERT INTO {schema}.memory_data AS d (
        user_id, node_id, key, value, metadata, version, created_at, updated_at, expires_at)
    SELECT p_user, p_node, p_keys[at], p_values[at]::json, p_metadata[at]::json, p_versions[at],
        p_created[at], p_updated[at], p_expires[at]
    FROM unnest(places) AS at
    ORDER BY p_keys[at] COLLATE "C"
    ON CONFLICT (user_id, node_id, key) DO UPDATE
    SET value = excluded.value,
        metadata = excluded.metadata,
        version = excluded.version,
        created_at = excluded.created_at,
        updated_at = excluded.updated_at,
        expires_at = excluded.expires_at
    -- What was there at the look is locked; what was not may have come since.
    WHERE d.key = ANY (known);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < cardinality(places) THEN
        -- The whole is undone, and the driver asks again.
        RAISE EXCEPTION USING ERRCODE = 'AM002', MESSAGE = 'another put came between';
    END IF;
END $$;
