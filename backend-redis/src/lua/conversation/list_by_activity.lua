-- Lists conversations by activity with their counters. KEYS: activity.
-- ARGV: what the names of counters and of messages start with, how many, and the score and name of
-- the one behind which the page begins ('' for none).
-- Cost: O(log n + page); where a page begins among equal times, O(log n) for each bit of their number.

-- Whether a name comes before another, by bytes: Lua compares as the server's locale does.
local function precedes(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local from = 0
if ARGV[4] ~= '' then
  from = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[4])
  local to = from + redis.call('ZCOUNT', KEYS[1], ARGV[4], ARGV[4])
  while from < to do
    local middle = math.floor((from + to) / 2)
    local name = redis.call('ZRANGE', KEYS[1], middle, middle)[1]
    if precedes(ARGV[5], name) then
      to = middle
    else
      from = middle + 1
    end
  end
end
local found = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], from, from + ARGV[3] - 1)) do
  local counters, oldest, newest = describe(ARGV[1] .. name, ARGV[2] .. name)
  if counters then
    for _, part in ipairs({name, counters, oldest, newest}) do
      found[#found + 1] = part
    end
  end
end
return found
