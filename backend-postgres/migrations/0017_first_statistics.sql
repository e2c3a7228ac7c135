-- Of a table that it knows nothing about, Postgres thinks that any column alone finds one row; so
-- that of two indexes which begin with the user either may be taken, and a plan made while the table
-- is empty reads all of a user's records for each id, until the table is analysed. Twenty records
-- of one user, analysed and gone again, tell it what to expect.
SELECT set_config('request.jwt.claims', '{"sub": "statistics"}', true);
INSERT INTO {schema}.embeddings (
    user_id, namespace_number, id, record_number, content, document_type, attributes, digest,
    created_at, updated_at, embedding, words, word_count)
SELECT 'statistics', 0, n, nextval('{schema}.record_numbers'), '', '', '{}', '', now(), now(),
    '[1]'::{vector}.vector, '{}', 0
FROM generate_series(1, 20) AS n;
ANALYZE {schema}.embeddings;
-- No namespace has the number 0, whoever else may have this name.
DELETE FROM {schema}.embeddings WHERE user_id = 'statistics' AND namespace_number = 0;
SELECT set_config('request.jwt.claims', '', true);
