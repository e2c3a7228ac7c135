-- Row level security. A data connection states for one transaction who it works for; a row is
-- there for its user alone. Without a statement there is no user, and so no row.

-- Everyone may call the functions, which run with the caller's rights and so give none: the rights
-- to the tables are granted to the role that works on the data. A connection's own role, which
-- only steps down to that one, needs no more than this.
GRANT USAGE ON SCHEMA {schema} TO PUBLIC;

-- Whose rows are visible: the `sub` of the claims, as PostgREST and Supabase set them.
CREATE FUNCTION {schema}.current_user_id() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'
$$;

-- States who the rest of the transaction works for, and steps down to a role that row level
-- security binds, where the connection's own is not one. Every function does so first: in its first
-- statement, or by declaring a constant, and then before its first statement. It is an expression
-- that Postgres puts in place of the call.
--
-- Everything is reached through an index that starts with the user, so sequential scans are off:
-- a session keeps the plans that it made, and one made while a table was small must not become
-- slow as it grows. For the same reason joins with what a caller gives are LATERAL with a LIMIT,
-- which leaves the planner one order to do them in. Compiling a plan would cost more than it gains.
-- Plans are kept: Postgres compares the cost of a plan for any arguments with that of new ones for
-- these, and takes arrays for longer than they are, so that it would plan every call.
CREATE FUNCTION {schema}.identity(p_user text, p_role text) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT concat(
        CASE WHEN p_role IS NOT NULL THEN set_config('role', p_role, true) END,
        set_config('request.jwt.claims',
            json_build_object('sub', p_user, 'role', current_user)::text, true),
        set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
        set_config('plan_cache_mode', 'force_generic_plan', true))
$$;

-- States, for one transaction, that the owner administers: its policy lets it see all rows.
CREATE FUNCTION {schema}.administer() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('memquill.administration', 'on', true);
END $$;

-- The second policy is the owner's, who is bound too (FORCE): the administration handle says for
-- one transaction that it administers. It is a policy of that role alone, so that it costs the
-- data role's plans nothing.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['conversations', 'conversation_buffers', 'message_ids',
        'namespaces', 'embeddings', 'embedding_words', 'memory_data']
    LOOP
        EXECUTE format('ALTER TABLE {schema}.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE {schema}.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY own_rows ON {schema}.%I
            USING (user_id = (SELECT {schema}.current_user_id()))
            WITH CHECK (user_id = (SELECT {schema}.current_user_id()))', name);
        EXECUTE format('CREATE POLICY administration ON {schema}.%I TO CURRENT_USER
            USING ((SELECT current_setting(''memquill.administration'', true)) = ''on'')', name);
    END LOOP;
END $$;
