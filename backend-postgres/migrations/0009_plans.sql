-- Plans are kept. Postgres weighs a plan for any arguments against new ones for these, and where
-- arrays are given it thinks them longer than they are: it then plans anew with every call, which
-- costs more than the call. All plans here are for any arguments (see 0002), so it is told so.
CREATE OR REPLACE FUNCTION {schema}.identify(p_user text, p_role text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_role IS NOT NULL THEN
        PERFORM set_config('role', p_role, true);
    END IF;
    PERFORM set_config('request.jwt.claims',
            json_build_object('sub', p_user, 'role', current_user)::text, true),
        set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true),
        set_config('plan_cache_mode', 'force_generic_plan', true);
END $$;
