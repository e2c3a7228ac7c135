-- Begins the erasure of a name and gives its token; nothing where the name is not registered.
-- KEYS: names, erasing. ARGV: name. Cost: O(1).
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return false
end
local time = redis.call('TIME')
local token = time[1] .. '.' .. time[2]
redis.call('HSET', KEYS[2], ARGV[1], token)
return token
