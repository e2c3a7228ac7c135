-- Working memory. Whoever writes several entries takes them in the order of their keys, so that
-- no two wait for each other.

-- An entry as it is read.
CREATE TYPE {schema}.entry AS (
    key text, value text, metadata text, version bigint,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz
);

CREATE TYPE {schema}.written_entry AS (
    version bigint, created_at timestamptz, updated_at timestamptz, expires_at timestamptz
);

-- Puts entries, given column by column; their keys differ. A condition is null (always), 0 (only
-- if absent) or the version wanted. Where one fails, nothing is written, and the answer is one row
-- that names the key and its current version, 0 for none.
CREATE FUNCTION {schema}.put_entries(
    p_user text, p_role text, p_node text,
    p_keys text[], p_values text[], p_metadata text[], p_ttls bigint[], p_conditions bigint[]
) RETURNS TABLE (
    failed_key text, version bigint,
    created_at timestamptz, updated_at timestamptz, expires_at timestamptz
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz;
    conditional boolean := cardinality(array_remove(p_conditions, NULL)) > 0;
    failed record;
    written {schema}.written_entry[];
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
            LEFT JOIN {schema}.memory_data AS d
                ON d.user_id = p_user AND d.node_id = p_node AND d.key = g.key
                AND (d.expires_at IS NULL OR d.expires_at > now)
            WHERE g.wanted <> coalesce(d.version, 0)
            ORDER BY g.at
            LIMIT 1;
            IF FOUND THEN
                RETURN QUERY SELECT failed.key, failed.version, now, now, now;
                RETURN;
            END IF;
        END IF;
        WITH given AS (
            SELECT g.*
            FROM unnest(p_keys, p_values, p_metadata, p_ttls, p_conditions)
                WITH ORDINALITY AS g (key, value, metadata, ttl, wanted, at)
            ORDER BY g.key COLLATE "C"
        ), put AS (
            INSERT INTO {schema}.memory_data AS d (
                user_id, node_id, key, value, metadata, version, created_at, updated_at, expires_at)
            SELECT p_user, p_node, g.key, g.value::json, g.metadata::json,
                nextval('{schema}.entry_versions'), now, now,
                now + make_interval(secs => g.ttl / 1000.0)
            FROM given AS g
            ON CONFLICT (user_id, node_id, key) DO UPDATE
            SET value = excluded.value,
                metadata = excluded.metadata,
                version = excluded.version,
                created_at = CASE WHEN d.expires_at <= now THEN now ELSE d.created_at END,
                updated_at = now,
                expires_at = excluded.expires_at
            -- Between the look and the write another may have come first.
            WHERE NOT conditional OR (
                SELECT g.wanted IS NULL OR g.wanted = CASE
                    WHEN d.expires_at <= now THEN 0 ELSE d.version END
                FROM given AS g
                WHERE g.key = d.key)
            RETURNING d.key, d.version, d.created_at, d.updated_at, d.expires_at
        )
        SELECT array_agg(ROW(put.version, put.created_at, put.updated_at, put.expires_at)
            ::{schema}.written_entry ORDER BY g.at)
        INTO written
        FROM put JOIN given AS g ON g.key = put.key;
        EXIT WHEN cardinality(written) = cardinality(p_keys);
        IF written IS NOT NULL THEN
            -- Some were written: the whole is undone, and the driver asks again.
            RAISE EXCEPTION USING ERRCODE = 'AM002', MESSAGE = 'another put came between';
        END IF;
    END LOOP;
    RETURN QUERY
    SELECT NULL::text, w.version, w.created_at, w.updated_at, w.expires_at
    FROM unnest(written) WITH ORDINALITY AS w (version, created_at, updated_at, expires_at, at)
    ORDER BY w.at;
END $$;

-- Reads entries in the order of the keys, and lets those that expire live at least `p_extend`
-- milliseconds from now, where given (W4).
CREATE FUNCTION {schema}.get_entries(
    p_user text, p_role text, p_node text, p_keys text[], p_extend bigint
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := {schema}.now_ms();
    wanted timestamptz := now + make_interval(secs => p_extend / 1000.0);
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    IF p_extend IS NOT NULL THEN
        PERFORM FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at < wanted
        ORDER BY d.key
        FOR UPDATE;
        UPDATE {schema}.memory_data AS d SET expires_at = wanted
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = ANY (p_keys)
            AND d.expires_at > now AND d.expires_at < wanted;
    END IF;
    RETURN QUERY
    SELECT d.key, d.value::text, d.metadata::text, d.version, d.created_at, d.updated_at,
        d.expires_at
    FROM unnest(p_keys) WITH ORDINALITY AS g (key, at)
    JOIN {schema}.memory_data AS d
        ON d.user_id = p_user AND d.node_id = p_node AND d.key = g.key
    WHERE d.expires_at IS NULL OR d.expires_at > now
    ORDER BY g.at;
END $$;

-- Deletes an entry. `current` is the version that made the condition fail, else null.
CREATE FUNCTION {schema}.delete_entry(
    p_user text, p_role text, p_node text, p_key text, p_version bigint,
    OUT deleted boolean, OUT current bigint
) LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := {schema}.now_ms();
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    DELETE FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        AND (d.expires_at IS NULL OR d.expires_at > now)
        AND (p_version IS NULL OR d.version = p_version);
    deleted := FOUND;
    IF NOT deleted AND p_version IS NOT NULL THEN
        SELECT d.version INTO current
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
            AND (d.expires_at IS NULL OR d.expires_at > now);
    END IF;
END $$;

-- The entries behind `p_behind` whose key starts with `p_prefix`.
CREATE FUNCTION {schema}.list_entries(
    p_user text, p_role text, p_node text, p_prefix text, p_behind text, p_limit bigint
) RETURNS SETOF {schema}.entry
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    RETURN QUERY
    SELECT d.key, d.value::text, d.metadata::text, d.version, d.created_at, d.updated_at,
        d.expires_at
    FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node
        AND d.key >= p_prefix
        -- A key has at most 255 bytes, and the last code point 4.
        AND d.key <= p_prefix || repeat(chr(1114111), 64)
        AND starts_with(d.key, p_prefix)
        AND d.key > p_behind
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp())
    ORDER BY d.key
    LIMIT p_limit;
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
    PERFORM {schema}.identify(p_user, p_role);
    LOOP
        SELECT d.* INTO held
        FROM {schema}.memory_data AS d
        WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
        FOR UPDATE;
        now := {schema}.now_ms();
        IF FOUND AND (held.expires_at IS NULL OR held.expires_at > now) THEN
            -- As serde_json writes integers; a float has a point or an exponent.
            IF held.value::text !~ '^(0|-?[1-9][0-9]{0,18})$'
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
                metadata = held.metadata,
                version = nextval('{schema}.entry_versions'),
                created_at = held.created_at,
                updated_at = now,
                expires_at = held.expires_at
            WHERE d.user_id = p_user AND d.node_id = p_node AND d.key = p_key
            RETURNING d.* INTO held;
        ELSE
            INSERT INTO {schema}.memory_data AS d (
                user_id, node_id, key, value, version, created_at, updated_at, expires_at)
            VALUES (p_user, p_node, p_key, number::text::json,
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
    PERFORM {schema}.identify(p_user, p_role);
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

CREATE FUNCTION {schema}.entry_figures(
    p_user text, p_role text, p_node text,
    OUT entries bigint, OUT expiring bigint
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM {schema}.identify(p_user, p_role);
    SELECT count(*), count(d.expires_at) INTO entries, expiring
    FROM {schema}.memory_data AS d
    WHERE d.user_id = p_user AND d.node_id = p_node
        AND (d.expires_at IS NULL OR d.expires_at > clock_timestamp());
END $$;
