-- Of an empty table that it has analysed, Postgres thinks one index as good as another if both begin
-- with the user, and keeps a plan that goes by the wrong one while the table is filled: to store a
-- batch it then read all of a user's records for each. A partial index serves only whoever names a
-- number, since nothing else implies its condition. The old one is found by its columns, as
-- partitions give it other names.
CREATE UNIQUE INDEX embeddings_by_number ON {schema}.embeddings (user_id, record_number)
    WHERE record_number IS NOT NULL;
DO $$
DECLARE
    name text;
BEGIN
    SELECT i.indexrelid::regclass::text INTO STRICT name
    FROM pg_index AS i
    WHERE i.indrelid = '{schema}.embeddings'::regclass AND i.indpred IS NULL AND (
        SELECT array_agg(a.attname::text ORDER BY k.at)
        FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, at)
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    ) = '{user_id,record_number}';
    EXECUTE 'DROP INDEX ' || name;
END $$;
