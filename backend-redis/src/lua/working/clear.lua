-- Removes all entries and says how many were live. KEYS: working, expiries.
-- ARGV: what entries' names start with.
-- Cost: O(entries). Versions go on.
local expired = redis.call('ZCOUNT', KEYS[2], '-inf', digits(now_ms()))
local live = redis.call('ZCARD', KEYS[1]) - expired
on_all('EXISTS', KEYS[1], ARGV[1])
on_all('UNLINK', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[1], KEYS[2])
return live
