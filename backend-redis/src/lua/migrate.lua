-- Brings the schema up to a version, and gives the one before; nothing where there was none.
-- KEYS: schema. ARGV: version. Cost: O(1).
local before = redis.call('GET', KEYS[1])
if not before or tonumber(before) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[1])
end
return before
