-- Working memory. Whoever writes several entries takes them in the order of their keys, so that
-- no two wait for each other.

-- An entry as it is read.
CREATE TYPE {schema}.entry AS (
    key text, value text, bytes bytea, metadata text, version bigint,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz
);

-- Puts entries, given column by column; their keys differ. A condition is null (always), 0 (only
-- if absent) or the version wanted. Where one fails, nothing is written, and the answer is one row
-- with the key and its current version, 0 for none; else one row for each key, in any order.
-- A value that replaces another is given its version as it does so: the one that came with the row is
-- older than the wait for whoever held the row, and may be lower than theirs (W3).
CREATE FUNCTION {schema}.put_entries(
    p_user text, p_role text, p_node text,
    p_keys text[], p_values text[], p_bytes bytea[], p_metadata text[], p_ttls bigint[],
    p_conditions bigint[]
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
    PERFORM {schema}.identity(p_user, p_role);
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
            user_id, node_id, key, value, bytes, size, metadata, version, created_at, updated_at,
            expires_at)
        SELECT p_user, p_node, g.key, g.value::json, g.bytes,
            coalesce(octet_length(g.value), octet_length(g.bytes)), g.metadata::json,
            nextval('{schema}.entry_versions'), now, now, now + make_interval(secs => g.ttl / 1000.0)
        FROM unnest(p_keys, p_values, p_bytes, p_metadata, p_ttls)
            AS g (key, value, bytes, metadata, ttl)
        ORDER BY g.key COLLATE "C"
        ON CONFLICT (user_id, node_id, key) DO UPDATE
        SET value = excluded.value,
            bytes = excluded.bytes,
            size = excluded.size,
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
            RAISE EXCEPTION USING ERRCODE = 'MQ002', MESSAGE = 'another put wrote one of the keys meanwhile';
        END IF;
    END LOOP;
END $$;

-- Reads one entry as it is.
CREATE FUNCTION {schema}.get_entry(
    p_user text, p_role text, p_node text, p_key text
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql STABLE AS $$
DECLARE
    identity CONSTANT text := {schema}.identity(p_user, p_role);
BEGIN
    RETURN QUERY
    SELECT d.key, d.value::text, d.bytes, d.metadata::text, d.version, d.created_at, d.updated_at,
        d.expires_at
    FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
END $$;

-- Reads entries in the order of the keys, and lets those that expire live at least `p_extend`
-- milliseconds from now, where given (W4).
-- The time is that after the wait for locks: an entry that expired meanwhile is not revived, and one
-- that lives does so for as long as is wanted.
-- Where the values have more than `p_bytes` in all, nothing is extended, and the answer ends with the
-- one that is too much (W7).
CREATE FUNCTION {schema}.get_entries(
    p_user text, p_role text, p_node text, p_keys text[], p_extend bigint, p_bytes bigint
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    wanted timestamptz;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    IF p_extend IS NOT NULL THEN
        PERFORM FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at < {schema}.now_ms() + make_interval(secs => p_extend / 1000.0)
        ORDER BY d.key
        FOR UPDATE;
    END IF;
    now := {schema}.now_ms();
    IF p_extend IS NOT NULL THEN
        wanted := now + make_interval(secs => p_extend / 1000.0);
        UPDATE {schema}.memory_data AS d SET expires_at = wanted
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at > {schema}.now_ms() AND d.expires_at < wanted
            AND p_bytes >= (
                SELECT sum(h.size)
                FROM unnest(p_keys) AS g (key)
                JOIN {schema}.memory_data AS h
                    ON h.user_id = p_user AND h.node_id = p_node AND h.key = g.key
                WHERE h.expires_at IS NULL OR h.expires_at > now);
    END IF;
    RETURN QUERY
    SELECT f.key, f.value::text, f.bytes, f.metadata::text, f.version, f.created_at, f.updated_at,
        f.expires_at
    FROM (
        SELECT d.*, g.at,
            sum(d.size) OVER (ORDER BY g.at ROWS UNBOUNDED PRECEDING) - d.size AS before
        FROM unnest(p_keys) WITH ORDINALITY AS g (key, at)
        CROSS JOIN LATERAL (
            SELECT h.*
            FROM {schema}.memory_data AS h
            WHERE h.user_id = p_user AND h.node_id = p_node AND h.key = g.key
            LIMIT 1
        ) AS d
        WHERE d.expires_at IS NULL OR d.expires_at > now
    ) AS f
    WHERE f.before <= p_bytes
    ORDER BY f.at;
END $$;

-- Deletes an entry. `current` is the version that made the condition fail, else null.
-- An entry that expired while this waited is not reported as deleted.
CREATE FUNCTION {schema}.delete_entry(
    p_user text, p_role text, p_node text, p_key text, p_version bigint,
    OUT deleted boolean, OUT current bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    DELETE FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
        AND (p_version IS NULL OR d.version = p_version)
    RETURNING d.expires_at IS NULL OR d.expires_at > clock_timestamp() INTO deleted;
    deleted := coalesce(deleted, false);
    IF NOT deleted AND p_version IS NOT NULL THEN
        SELECT d.version INTO current
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
            AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
    END IF;
END $$;

-- The entries after `p_after` whose key starts with `p_prefix`, up to the one with which the values
-- have more than `p_bytes` in all (W5).
CREATE FUNCTION {schema}.list_entries(
    p_user text, p_role text, p_node text, p_prefix text, p_after text, p_limit bigint,
    p_bytes bigint
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    RETURN QUERY
    SELECT f.key, f.value::text, f.bytes, f.metadata::text, f.version, f.created_at, f.updated_at,
        f.expires_at
    FROM (
        SELECT d.*, sum(d.size) OVER (ORDER BY d.key ROWS UNBOUNDED PRECEDING) - d.size AS before
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node
            AND d.key >= p_prefix
            -- A key has at most 255 bytes, and the last code point 4.
            AND d.key <= p_prefix || repeat(chr(1114111), 64)
            AND starts_with(d.key, p_prefix)
            AND d.key > p_after
            AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
        ORDER BY d.key
        LIMIT p_limit
    ) AS f
    WHERE f.before <= p_bytes
    ORDER BY f.key;
END $$;

-- Adds to an integer (W6). `outcome` is counted, no_integer, or past_i64, where `value` is what
-- there is.
CREATE FUNCTION {schema}.increment_entry(
    p_user text, p_role text, p_node text, p_key text, p_by bigint, p_ttl bigint,
    OUT outcome text, OUT value bigint, OUT version bigint,
    OUT created_at timestamptz, OUT updated_at timestamptz, OUT expires_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held {schema}.memory_data;
    number numeric;
    now timestamptz;
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    LOOP
        SELECT d.* INTO held
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        FOR UPDATE;
        now := {schema}.now_ms();
        IF FOUND AND (held.expires_at IS NULL OR held.expires_at > now) THEN
            -- As serde_json writes integers; a float has a point or an exponent.
            -- Bytes are none.
            IF held.value IS NULL OR held.value::text !~ '^(0|-?[1-9][0-9]{0,18})$'
                OR held.value::text::numeric > 9223372036854775807
                OR held.value::text::numeric < -9223372036854775808
            THEN
                outcome := 'no_integer';
                RETURN;
            END IF;
            number := held.value::text::numeric + p_by;
            IF number NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
                outcome := 'past_i64';
                value := held.value::text::bigint;
                RETURN;
            END IF;
        ELSE
            number := p_by;
            held.metadata := NULL;
            held.created_at := now;
            held.expires_at := now + make_interval(secs => p_ttl / 1000.0);
        END IF;
        IF held.user_id IS NOT NULL THEN
            UPDATE {schema}.memory_data AS d
            SET value = number::text::json,
                bytes = NULL,
                size = octet_length(number::text),
                metadata = held.metadata,
                version = nextval('{schema}.entry_versions'),
                created_at = held.created_at,
                updated_at = now,
                expires_at = held.expires_at
            WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
            RETURNING d.* INTO held;
        ELSE
            INSERT INTO {schema}.memory_data AS d (
                user_id, node_id, key, value, size, version, created_at, updated_at, expires_at)
            VALUES (p_user, p_node, p_key, number::text::json, octet_length(number::text),
                nextval('{schema}.entry_versions'), now, now, held.expires_at)
            ON CONFLICT DO NOTHING
            RETURNING d.* INTO held;
        END IF;
        EXIT WHEN FOUND;
    END LOOP;
    outcome := 'counted';
    value := number;
    version := held.version;
    created_at := held.created_at;
    updated_at := held.updated_at;
    expires_at := held.expires_at;
END $$;

-- Removes all entries of the scope, and says how many had not expired.
CREATE FUNCTION {schema}.clear_entries(
    p_user text, p_role text, p_node text,
    OUT cleared bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    WITH locked AS MATERIALIZED (
        SELECT d.key
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node
        ORDER BY d.key
        FOR UPDATE
    ), gone AS (
        DELETE FROM {schema}.memory_data AS d
        USING locked
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = locked.key
        RETURNING d.expires_at
    )
    SELECT count(*) INTO cleared
    FROM gone
    WHERE gone.expires_at IS NULL OR gone.expires_at > clock_timestamp();
END $$;

-- Counts the entries, and those among them that expire.
CREATE FUNCTION {schema}.entry_statistics(
    p_user text, p_role text, p_node text,
    OUT entries bigint, OUT expiring bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identity(p_user, p_role);
    SELECT count(*), count(d.expires_at) INTO entries, expiring
    FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
END $$;

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
    -- One at a time, so that none lowers what another raised: "mq-versn" in ASCII.
    PERFORM pg_advisory_xact_lock(7886134409033839470);
    IF (SELECT s.last_value FROM {schema}.entry_versions AS s) < p_version THEN
        PERFORM setval('{schema}.entry_versions', p_version + 1048576);
    END IF;
END $$;

-- Puts entries back, given column by column. `differs` is the first that is there, differs, and is
-- not to be overwritten, `current` its version; then nothing is changed.
CREATE FUNCTION {schema}.restore_entries(
    p_user text, p_role text, p_node text,
    p_keys text[], p_values text[], p_bytes bytea[], p_metadata text[], p_versions bigint[],
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
    PERFORM {schema}.identity(p_user, p_role);
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
                    AND h.bytes IS NOT DISTINCT FROM p_bytes[g.at]
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
        user_id, node_id, key, value, bytes, size, metadata, version, created_at, updated_at,
        expires_at)
    SELECT p_user, p_node, p_keys[at], p_values[at]::json, p_bytes[at],
        coalesce(octet_length(p_values[at]), octet_length(p_bytes[at])), p_metadata[at]::json,
        p_versions[at], p_created[at], p_updated[at], p_expires[at]
    FROM unnest(places) AS at
    ORDER BY p_keys[at] COLLATE "C"
    ON CONFLICT (user_id, node_id, key) DO UPDATE
    SET (value, bytes, size, metadata, version, created_at, updated_at, expires_at)
        = (excluded.value, excluded.bytes, excluded.size, excluded.metadata, excluded.version,
            excluded.created_at, excluded.updated_at, excluded.expires_at)
    -- What was there at the look is locked; what was not may have come since.
    WHERE d.key = ANY (known);
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written < cardinality(places) THEN
        -- The whole is undone, and the driver asks again.
        RAISE EXCEPTION USING ERRCODE = 'MQ002', MESSAGE = 'another put wrote one of the keys meanwhile';
    END IF;
END $$;
