-- Says whether a scope holds anything live. KEYS: conversations, working, expiries.
-- Cost: O(log n).
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 1
end
local expired = redis.call('ZCOUNT', KEYS[3], '-inf', digits(now_ms()))
return redis.call('ZCARD', KEYS[2]) > expired and 1 or 0
