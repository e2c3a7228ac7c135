-- A search reads the namespace and then its records. STABLE, it reads both as they were when it
-- began, so that a rebinding (V13) cannot come between.
ALTER FUNCTION {schema}.search(
    text, text, text, text, text, integer, real[], real, text, text[], bigint
) STABLE;
ALTER FUNCTION {schema}.search_text(
    text, text, text, text, text[], float8, float8, text, integer, real[], real, text, text[], bigint
) STABLE;
