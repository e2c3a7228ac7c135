-- Namespaces to be rebound, each a list of records whose content is their id: `swap` can take the
-- embeddings of `fresh`, which has one more; `to` lacks a counterpart in `from`.
SELECT store_records('bob', NULL, 'bot', s.namespace, 'm', 2, s.ids, s.ids,
    array_fill('text'::text, ARRAY[n]), array_fill(NULL::text, ARRAY[n]), array_fill(NULL::text, ARRAY[n]),
    array_fill(NULL::text, ARRAY[n]), array_fill('\x01'::bytea, ARRAY[n]), array_fill(NULL::bigint, ARRAY[n]),
    array_fill(1::real, ARRAY[2 * n]), '{}'::real[], array_fill(false, ARRAY[n]), s.ids,
    array_fill('1'::text, ARRAY[n]), array_fill(1, ARRAY[n]))
FROM (VALUES ('swap', ARRAY['r1', 'r2']), ('fresh', ARRAY['r1', 'r2', 'r9']),
    ('to', ARRAY['r1', 'r4']), ('from', ARRAY['r1'])) AS s (namespace, ids), cardinality(s.ids) AS n;
-- Older than their counterparts, whose times therefore change.
UPDATE embeddings SET created_at = '2021-01-01' FROM namespaces AS s
WHERE embeddings.user_id = 'bob' AND s.user_id = 'bob' AND s.namespace = 'swap' AND s.namespace_number = embeddings.namespace_number;
