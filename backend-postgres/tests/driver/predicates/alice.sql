-- Alice's: bob's rows with the same names and numbers, and other values.
INSERT INTO conversations
SELECT (jsonb_populate_record(c, '{"user_id": "alice"}')).* FROM conversations AS c WHERE user_id = 'bob';
INSERT INTO conversation_buffers
SELECT (jsonb_populate_record(m, '{"user_id": "alice"}')).* FROM conversation_buffers AS m WHERE user_id = 'bob';
INSERT INTO message_ids
SELECT (jsonb_populate_record(i, '{"user_id": "alice"}')).* FROM message_ids AS i WHERE user_id = 'bob';
INSERT INTO namespaces OVERRIDING SYSTEM VALUE
SELECT (jsonb_populate_record(s, '{"user_id": "alice"}')).* FROM namespaces AS s WHERE user_id = 'bob';
INSERT INTO embeddings
SELECT (jsonb_populate_record(e, '{"user_id": "alice"}')).* FROM embeddings AS e WHERE user_id = 'bob';
INSERT INTO embedding_words
SELECT (jsonb_populate_record(w, '{"user_id": "alice"}')).* FROM embedding_words AS w WHERE user_id = 'bob';
INSERT INTO memory_data
SELECT (jsonb_populate_record(d, '{"user_id": "alice"}')).* FROM memory_data AS d WHERE user_id = 'bob';

UPDATE conversations SET last_seq = last_seq + 5, user_count = user_count + 7, system_tokens = 99 WHERE user_id = 'alice';
UPDATE conversation_buffers SET content = 'hers', created_at = '2000-01-01' WHERE user_id = 'alice';
-- So that retention would keep more if it looked at hers.
UPDATE conversation_buffers SET system_count_before = 1000, system_tokens_before = 1000
WHERE user_id = 'alice' AND conversation_id <> 'pinned';
UPDATE conversation_buffers SET system_count_before = -1000, other_tokens_before = 1000, role = 'user'
WHERE user_id = 'alice' AND conversation_id = 'pinned';
UPDATE message_ids SET known_until = 0 WHERE user_id = 'alice' AND message_id = 'm2';
UPDATE memory_data SET value = '100', version = version + 1000 WHERE user_id = 'alice';
UPDATE embeddings SET content = 'hers', digest = '\xff', language = 'en', word_count = 50, embedding = '[0.3,0.7]'
WHERE user_id = 'alice';

UPDATE namespaces SET model = 'hers' WHERE user_id = 'alice';

-- What only she has.
INSERT INTO message_ids
SELECT 'alice', node_id, conversation_id, 'hers', 1, created_at, digest, NULL FROM message_ids
WHERE user_id = 'bob' AND message_id = 'm1';
INSERT INTO message_ids
SELECT 'alice', node_id, conversation_id, 'hers 2', 2, created_at, digest, NULL FROM message_ids
WHERE user_id = 'bob' AND message_id = 'm2';
INSERT INTO conversations (user_id, node_id, conversation_id) VALUES ('alice', 'bot', 'hers'), ('alice', 'hers', 'hers');
INSERT INTO namespaces (user_id, node_id, namespace, model, dimensions)
VALUES ('alice', 'bot', 'hers', 'm', 2), ('alice', 'hers 2', 'hers', 'm', 2);
INSERT INTO embeddings
SELECT (jsonb_populate_record(e, jsonb_build_object('user_id', 'alice', 'id', 'hers', 'record_number', e.record_number + 1000))).*
FROM embeddings AS e WHERE user_id = 'bob' AND id = 'r1';
INSERT INTO embeddings
SELECT (jsonb_populate_record(e, jsonb_build_object('user_id', 'alice', 'id', 'hers, expired', 'record_number', e.record_number + 2000, 'expires_at', '2020-01-01'))).*
FROM embeddings AS e WHERE user_id = 'bob' AND id = 'r1';
INSERT INTO embedding_words
SELECT 'alice', namespace_number, word, record_number + 1000, frequency FROM embedding_words WHERE user_id = 'bob';
INSERT INTO memory_data
SELECT 'alice', 'bot', 'hers', value, bytes, size, metadata, version, created_at, updated_at, expires_at FROM memory_data
WHERE user_id = 'bob' AND key = 'a';
INSERT INTO memory_data
SELECT 'alice', 'hers 3', 'hers', value, bytes, size, metadata, version, created_at, updated_at, expires_at FROM memory_data
WHERE user_id = 'bob' AND key = 'a';

-- Rebinding: the counterpart that bob lacks, a record with the number of one of his and an id that
-- he has not, the id that he is to lose, and one that has expired.
INSERT INTO embeddings
SELECT (jsonb_populate_record(e, jsonb_build_object('user_id', 'alice', 'namespace_number', s.namespace_number, 'record_number', e.record_number + 3000))).*
FROM embeddings AS e, namespaces AS s WHERE e.user_id = 'bob' AND e.id = 'r4' AND s.user_id = 'bob' AND s.namespace = 'from';
UPDATE embeddings SET id = 'hers too' FROM namespaces AS s
WHERE embeddings.user_id = 'alice' AND embeddings.id = 'r2' AND s.user_id = 'bob' AND s.namespace = 'fresh' AND s.namespace_number = embeddings.namespace_number;
INSERT INTO embeddings
SELECT (jsonb_populate_record(e, jsonb_build_object('user_id', 'alice', 'namespace_number', s.namespace_number, 'record_number', e.record_number + 3000))).*
FROM embeddings AS e, namespaces AS s WHERE e.user_id = 'bob' AND e.id = 'r9' AND s.user_id = 'bob' AND s.namespace = 'swap';
UPDATE embeddings SET expires_at = '2020-01-01' FROM namespaces AS s
WHERE embeddings.user_id = 'alice' AND embeddings.id = 'r1' AND s.user_id = 'bob' AND s.namespace = 'swap' AND s.namespace_number = embeddings.namespace_number;

-- Of later numbers than bob's: who asks for the newest without asking whose finds it.
INSERT INTO conversation_buffers
SELECT (jsonb_populate_record(m, '{"seq": 1000}')).* FROM conversation_buffers AS m
WHERE user_id = 'alice' AND conversation_id IN ('cut', 'plain') AND seq = 1;
