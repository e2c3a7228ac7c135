-- Writes the schema's version where there is none, and returns the one before; nothing where there
-- was none. KEYS: schema. ARGV: version. Cost: O(1).
local before = redis.call('GET', KEYS[1])
if not before then
  redis.call('SET', KEYS[1], ARGV[1])
end
return before
