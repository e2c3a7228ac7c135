-- Bob's: three conversations of a message each way, two namespaces, some entries.
SELECT append_messages('bob', NULL, 'bot', c, ARRAY['m1', 'm2', NULL, NULL], ARRAY[repeat('aa', 32), repeat('bb', 32), NULL, NULL],
    ARRAY['user', 'system', 'assistant', 'user'], ARRAY['one', 'two', 'three', 'four'], NULL, NULL, NULL, NULL, NULL, NULL,
    ARRAY[1, 1, 1, 1], ARRAY[0, 0, 1, 1], ARRAY[0, 0, 1, 1], ARRAY[0, 1, 1, 2], ARRAY[1, 2, 1, 0, 1, 3], NULL, NULL, NULL, NULL)
FROM unnest(ARRAY['cut', 'pinned', 'plain']) AS c;
SELECT store_records('bob', NULL, 'bot', s, 'm', 2, ARRAY['r1', 'r2', 'r3'], ARRAY['red apple', 'red pear', 'green'],
    ARRAY['text', 'text', 'text'], ARRAY['{"n":1}', '{"n":2}', NULL], ARRAY[NULL, NULL, NULL]::text[], ARRAY[NULL, NULL, NULL]::text[],
    ARRAY['\x01', '\x02', '\x03']::bytea[], ARRAY[NULL, NULL, NULL]::bigint[], ARRAY[1, 0, 0, 1, 1, 1]::real[], '{}'::real[],
    ARRAY[false, false, false], ARRAY['red apple', 'red pear', 'green'], ARRAY['1 1', '1 1', '1'], ARRAY[2, 2, 1])
FROM unnest(ARRAY['notes', 'other', 'third']) AS s;
SELECT put_entries('bob', NULL, 'bot', ARRAY['a', 'b', 'due', 'n'], ARRAY['1', '2', '3', '4'],
    ARRAY[NULL, NULL, NULL, NULL]::bytea[], ARRAY[NULL, NULL, NULL, NULL]::text[], ARRAY[NULL, NULL, 60000, NULL]::bigint[], ARRAY[NULL, NULL, NULL, NULL]::bigint[]);
-- As outgrown and indexed, but for one record, which tells whether a search went by index.
UPDATE namespaces SET index_dimensions = 2, is_indexed = true WHERE user_id = 'bob' AND namespace = 'other';
UPDATE embeddings SET index_dimensions = 2 FROM namespaces AS s
WHERE embeddings.user_id = 'bob' AND s.user_id = 'bob' AND s.namespace = 'other' AND s.namespace_number = embeddings.namespace_number AND id <> 'r3';
