-- Lists conversations in byte order with their figures. KEYS: conversations.
-- ARGV: what the names of figures and of messages start with, the least name as ZRANGEBYLEX has it,
-- how many.
-- Cost: O(log n + page).
local found = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', KEYS[1], ARGV[3], '+', 'LIMIT', 0, ARGV[4])) do
  local figures, oldest, newest = describe(ARGV[1] .. name, ARGV[2] .. name)
  if figures then
    for _, part in ipairs({name, figures, oldest, newest}) do
      found[#found + 1] = part
    end
  end
end
return found
