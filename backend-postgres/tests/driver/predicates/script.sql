-- What bob does, a statement a line.
SELECT r.total || ' ' || coalesce(r.seq, 0) || ' ' || coalesce(r.content, '') FROM read_messages('bob', NULL, 'bot', 'cut', 10, NULL, 0, 100, NULL, NULL) AS r
SELECT f.conversation_id || ' ' || f.last_seq || ' ' || f.user_count || ' ' || (f.oldest > now() - interval '1 day') || ' ' || (f.newest > now() - interval '1 day') FROM conversation_figures('bob', NULL, 'bot', NULL, '', 100) AS f
SELECT a.outcome || ' ' || coalesce(a.detail, '') || ' ' || coalesce(a.message_count, 0) FROM append('bob', NULL, 'bot', 'plain', ARRAY['hers'], ARRAY[repeat('cc', 32)], ARRAY['user'], ARRAY['x'], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[1]::bigint[], NULL, NULL, NULL) AS a
SELECT a.outcome || ' ' || a.evicted || ' ' || a.message_count || ' ' || a.token_count FROM append('bob', NULL, 'bot', 'cut', ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY['user'], ARRAY['x'], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[1]::bigint[], 3, 100, false) AS a
SELECT f.conversation_id || ' ' || (f.oldest IS NULL) FROM conversation_figures('bob', NULL, 'bot', NULL, '', 100) AS f
SELECT t.evicted::text FROM trim_conversation('bob', NULL, 'bot', 'pinned', 2, 100, true) AS t
SELECT c.cleared::text FROM clear_conversation('bob', NULL, 'bot', 'plain') AS c
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
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'hers', 'fresh') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'swap', 'hers') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'to', 'from') AS r
SELECT r.records::text FROM rebind_namespace('bob', NULL, 'bot', 'swap', 'fresh') AS r
SELECT c.records::text FROM count_records('bob', NULL, 'bot', 'swap', 'true', '{}') AS c
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'notes', ARRAY['r1', 'hers'], NULL, NULL) AS d
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'other', NULL, 'true', '{}') AS d
SELECT d.deleted::text FROM delete_records('bob', NULL, 'bot', 'third', NULL, NULL, NULL) AS d
SELECT e.key || ' ' || e.value FROM get_entries('bob', NULL, 'bot', ARRAY['a', 'due', 'hers'], 600000) AS e
SELECT e.key || ' ' || e.value FROM list_entries('bob', NULL, 'bot', '', '', 100) AS e
SELECT f.entries || ' ' || f.expiring FROM entry_figures('bob', NULL, 'bot') AS f
SELECT p.failed || ' ' || p.key FROM put_entries('bob', NULL, 'bot', ARRAY['hers'], ARRAY['0'], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[0]::bigint[]) AS p
SELECT i.outcome || ' ' || i.value FROM increment_entry('bob', NULL, 'bot', 'n', 1, NULL) AS i
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'gone', 1) AS d
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'b', NULL) AS d
SELECT d.deleted || ' ' || (d.current IS NULL) FROM delete_entry('bob', NULL, 'bot', 'b', 1) AS d
SELECT n.node_id FROM list_nodes('bob', NULL, '', 100) AS n
SELECT c.cleared::text FROM clear_entries('bob', NULL, 'bot') AS c
SELECT p.failed || ' ' || p.key FROM put_entries('bob', NULL, 'bot', ARRAY['a'], ARRAY['0'], ARRAY[NULL]::text[], ARRAY[NULL]::bigint[], ARRAY[NULL]::bigint[]) AS p
SELECT e.messages || ' ' || e.records || ' ' || e.entries FROM erase('bob', NULL) AS e
