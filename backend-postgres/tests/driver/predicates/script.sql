-- What bob does, a statement a line.
SELECT r.total || ' ' || coalesce(r.seq, 0) || ' ' || coalesce(r.content, '') FROM newest_messages('bob', NULL, 'bot', 'cut', 10, NULL, 0, 100, NULL, NULL) AS r
SELECT string_agg(p.seq || ' ' || p.content, ', ') FROM pop_messages('bob', NULL, 'bot', 'plain', 1, NULL) AS p
SELECT t.removed || ' ' || t.newest FROM truncate_conversation('bob', NULL, 'bot', 'plain', 3, NULL) AS t
SELECT f.conversation_id || ' ' || f.last_seq || ' ' || f.user_count || ' ' || (f.oldest > now() - interval '1 day') || ' ' || (f.newest > now() - interval '1 day') FROM conversation_statistics('bob', NULL, 'bot', NULL, '', 100) AS f
SELECT string_agg(f.conversation_id, ' ' ORDER BY f.conversation_id) FROM active_conversations('bob', NULL, 'bot', 9223372036854775807, '', 100) AS f
SELECT a.outcome || ' ' || coalesce(a.detail, '') || ' ' || coalesce(a.message_count, 0) FROM append_messages('bob', NULL, 'bot', 'plain', ARRAY['hers'], ARRAY[repeat('cc', 32)], ARRAY['user'], ARRAY['x'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1], ARRAY[0], ARRAY[0], ARRAY[0], ARRAY[0, 1, 0, 0, 0, 1], NULL, NULL, NULL, NULL) AS a
SELECT a.outcome || ' ' || coalesce(a.detail, '') || ' ' || coalesce(a.message_count, 0) FROM append_messages('bob', NULL, 'bot', 'pinned', ARRAY['hers', 'his'], ARRAY[repeat('cc', 32), repeat('dd', 32)], ARRAY['user', 'system'], ARRAY['x', 'y'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1, 1], ARRAY[0, 0], ARRAY[0, 0], ARRAY[0, 1], ARRAY[1, 1, 0, 0, 1, 1], NULL, NULL, NULL, NULL) AS a
SELECT a.outcome || ' ' || a.message_count FROM append_messages('bob', NULL, 'bot', 'pinned', ARRAY['m1'], ARRAY[repeat('aa', 32)], ARRAY['user'], ARRAY['one'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1], ARRAY[0], ARRAY[0], ARRAY[0], ARRAY[0, 1, 0, 0, 0, 1], NULL, NULL, NULL, NULL) AS a
SELECT a.outcome || ' ' || a.evicted || ' ' || a.message_count || ' ' || a.token_count FROM append_messages('bob', NULL, 'bot', 'cut', NULL, NULL, ARRAY['user'], ARRAY['x'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1], ARRAY[0], ARRAY[0], ARRAY[0], ARRAY[0, 1, 0, 0, 0, 1], 3, 100, false, NULL) AS a
SELECT f.conversation_id || ' ' || (f.oldest IS NULL) FROM conversation_statistics('bob', NULL, 'bot', NULL, '', 100) AS f
SELECT r.written || ' ' || coalesce(r.number_taken, 0) || ' ' || coalesce(r.id_taken, '') FROM restore_messages('bob', NULL, 'bot', 'pinned', 1, ARRAY[1]::bigint[], ARRAY['2000-01-01'::timestamptz], ARRAY['m1'], NULL, ARRAY['user'], ARRAY['hers'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1]::bigint[], 0, 0, 0) AS r
SELECT r.written || ' ' || coalesce(r.number_taken, 0) || ' ' || coalesce(r.id_taken, '') FROM conversation_buffers AS m, restore_messages('bob', NULL, 'bot', 'pinned', 1, ARRAY[m.seq], ARRAY[m.created_at], ARRAY[m.message_id], NULL, ARRAY[m.role], ARRAY[m.content], NULL, NULL, NULL, NULL, NULL, ARRAY[m.token_count], ARRAY[m.tokens], 0, 0, 0) AS r WHERE m.user_id = 'bob' AND m.conversation_id = 'pinned' AND m.seq = 1
SELECT r.written || ' ' || coalesce(r.number_taken, 0) || ' ' || coalesce(r.id_taken, '') FROM restore_messages('bob', NULL, 'bot', 'pinned', 12, ARRAY[9]::bigint[], ARRAY['2020-01-01'::timestamptz], ARRAY['hers 2'], ARRAY[repeat('cc', 32)], ARRAY['user'], ARRAY['six'], NULL, NULL, NULL, NULL, NULL, NULL, ARRAY[1]::bigint[], 0, 0, 0) AS r
SELECT t.evicted::text FROM trim_conversation('bob', NULL, 'bot', 'pinned', 2, 100, true, NULL, NULL, NULL) AS t
SELECT t.evicted::text FROM trim_conversation('bob', NULL, 'bot', 'cut', 100, 0, false, NULL, NULL, NULL) AS t
SELECT c.cleared::text FROM clear_conversation('bob', NULL, 'bot', 'plain') AS c
SELECT d.deleted::text FROM delete_conversation('bob', NULL, 'bot', 'cut') AS d
SELECT coalesce(t.removed, -1) || ' ' || t.newest FROM truncate_conversation('bob', NULL, 'bot', 'pinned', 0, 99) AS t
SELECT t.removed || ' ' || t.newest FROM truncate_conversation('bob', NULL, 'bot', 'pinned', 0, NULL) AS t
SELECT n.namespace || ' ' || n.records FROM list_namespaces('bob', NULL, 'bot', '', 100) AS n
SELECT r.id || ' ' || r.content FROM get_records('bob', NULL, 'bot', 'notes', ARRAY['r1', 'r2', 'hers'], true) AS r
SELECT r.id || ' ' || r.content FROM scan_records('bob', NULL, 'bot', 'notes', 'true', '{}', true, '', 100) AS r
SELECT c.records::text FROM count_records('bob', NULL, 'bot', 'notes', 'true', '{}') AS c
SELECT r.id || ' ' || r.content || ' ' || r.score FROM search('bob', NULL, 'bot', 'notes', 'm', 2, ARRAY[1, 0]::real[], NULL, 'true', '{}', 100) AS r
SELECT r.id || ' ' || r.content || ' ' || r.score FROM search('bob', NULL, 'bot', 'other', 'm', 2, ARRAY[1, 0]::real[], NULL, 'true', '{}', 100) AS r
SELECT r.id || ' ' || r.content || ' ' || r.score FROM search('bob', NULL, 'bot', 'other', 'm', 2, ARRAY[1, 0]::real[], NULL, 'e.document_type = $1[1] AND e.word_count <> 2', '{text}', 100) AS r
SELECT m.last FROM namespaces AS s, mark_records('bob', s.namespace_number, '', 2) AS m WHERE s.user_id = 'bob' AND s.namespace = 'notes'
SELECT f::text FROM namespaces AS s, finish_index('bob', s.namespace_number) AS f WHERE s.user_id = 'bob' AND s.namespace = 'third'
SELECT r.id || ' ' || r.content || ' ' || r.score || ' ' || r.similarity FROM search_text('bob', NULL, 'bot', 'notes', ARRAY['red', 'apple'], 1.2, 0.75, 'm', 2, ARRAY[1, 0]::real[], NULL, 'true', '{}', 100) AS r
SELECT s.outcome FROM store_records('bob', NULL, 'bot', 'notes', 'm', 2, ARRAY['r1', 'hers'], ARRAY['blue', 'his'], ARRAY['text', 'text'], ARRAY[NULL, NULL]::text[], ARRAY[NULL, NULL]::text[], ARRAY[NULL, NULL]::text[], ARRAY['\x04', '\xff']::bytea[], ARRAY[NULL, NULL]::bigint[], ARRAY[1, 0, 0, 1]::real[], '{}'::real[], ARRAY[false, false], ARRAY['blue', 'his'], ARRAY['1', '1'], ARRAY[1, 1]) AS s
SELECT r.written || ' ' || coalesce(r.differs, '') FROM embeddings AS e, namespaces AS s, restore_records('bob', NULL, 'bot', 'notes', 'm', 2, ARRAY[e.id, 'new'], ARRAY[e.content, 'new'], ARRAY['text', 'text'], ARRAY[e.metadata::text, NULL], NULL, NULL, ARRAY[e.digest, '\x07'], ARRAY[1, 0, 0, 1]::real[], '{}'::real[], ARRAY[false, false], ARRAY['red pear', 'new'], ARRAY['1 1', '1'], ARRAY[2, 1], ARRAY[e.created_at, e.created_at], ARRAY[e.updated_at, e.updated_at], ARRAY[e.expires_at, NULL], false) AS r WHERE e.user_id = 'bob' AND e.id = 'r2' AND s.user_id = 'bob' AND s.namespace = 'notes' AND s.namespace_number = e.namespace_number
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'hers', 'fresh') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'swap', 'hers') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'to', 'from') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'swap', 'fresh') AS r
SELECT c.records::text FROM count_records('bob', NULL, 'bot', 'swap', 'true', '{}') AS c
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'notes', ARRAY['r1', 'hers'], NULL, NULL) AS d
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'hers', ARRAY['r1'], NULL, NULL) AS d
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'other', NULL, 'true', '{}') AS d
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'third', NULL, NULL, NULL) AS d
SELECT e.key || ' ' || e.value || ' ' || coalesce((e.expires_at > now() + interval '5 minutes')::text, 'never') FROM get_entries('bob', NULL, 'bot', ARRAY['a', 'due', 'hers'], 600000, 2) AS e
SELECT e.key || ' ' || e.value FROM get_entry('bob', NULL, 'bot', 'a') AS e
SELECT e.key || ' ' || e.value FROM get_entry('bob', NULL, 'bot', 'hers') AS e
SELECT e.key || ' ' || e.value FROM list_entries('bob', NULL, 'bot', '', '', 100, 1000000) AS e
SELECT f.entries || ' ' || f.expiring FROM entry_statistics('bob', NULL, 'bot') AS f
SELECT r.written || ' ' || coalesce(r.differs, '') FROM memory_data AS d, restore_entries('bob', NULL, 'bot', ARRAY[d.key, 'his', 'new'], ARRAY[d.value::text, '5', '6'], NULL, NULL, ARRAY[d.version, 1, 2], ARRAY[d.created_at, d.created_at, d.created_at], ARRAY[d.updated_at, d.updated_at, d.updated_at], ARRAY[d.expires_at, NULL, NULL], false) AS r WHERE d.user_id = 'bob' AND d.key = 'a'
SELECT p.failed || ' ' || p.key FROM put_entries('bob', NULL, 'bot', ARRAY['hers'], ARRAY['0'], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[0]::bigint[]) AS p
SELECT i.outcome || ' ' || i.value FROM increment_entry('bob', NULL, 'bot', 'n', 1, NULL) AS i
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'gone', 1) AS d
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'b', NULL) AS d
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'b', 1) AS d
SELECT n.node_id FROM list_nodes('bob', NULL, '', 100) AS n
SELECT c.cleared::text FROM clear_entries('bob', NULL, 'bot') AS c
SELECT p.failed || ' ' || p.key FROM put_entries('bob', NULL, 'bot', ARRAY['a'], ARRAY['0'], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[NULL]::bigint[]) AS p
SELECT e.messages || ' ' || e.records || ' ' || e.entries FROM erase('bob', NULL) AS e
