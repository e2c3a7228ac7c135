-- Registers a name, and ends its erasure if one is under way.
-- KEYS: names, erasing. ARGV: name. Cost: O(log n).
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
