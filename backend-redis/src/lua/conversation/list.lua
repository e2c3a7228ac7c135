-- Lists conversations in byte order with their counters. KEYS: conversations.
-- ARGV: what the names of counters and of messages start with, the least name as ZRANGEBYLEX has it,
-- how many.
-- Cost: O(log n + page).
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[3], '+', 'LIMIT', 0, ARGV[4])) do
  local counters, oldest, newest = describe(ARGV[1] .. name, ARGV[2] .. name)
  if counters then
    for _, part in ipairs({name, counters, oldest, newest}) do
      found[#found + 1] = part
    end
  end
end
return found
