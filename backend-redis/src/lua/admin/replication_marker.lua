#!lua flags=allow-oom
-- Writes and removes a key, so that a WAIT after it waits for all that the server did before.
-- Since Redis 7.2 it waits for the last write of its own connection alone; a repeat writes nothing,
-- and what it finds came over another. A full server lets it through, as it does a delete.
-- KEYS: one in the slot of what was written. Cost: O(1).
redis.call('SET', KEYS[1], '')
redis.call('DEL', KEYS[1])
