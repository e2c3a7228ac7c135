-- Counts the live entries, and those of them that expire. KEYS: working, expiries.
-- Cost: O(log n).
local now = digits(now_ms())
local expired = redis.call('ZCOUNT', KEYS[2], '-inf', now)
return {redis.call('ZCARD', KEYS[1]) - expired, redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf')}
