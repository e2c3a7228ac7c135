-- Removes up to 1,000 entries that have expired, and says how many. KEYS: working, expiries.
-- ARGV: what entries' names start with.
-- Cost: O(log n) for each entry removed.
local expired =
  redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now_ms()), 'LIMIT', 0, 1000)
if #expired == 0 then
  return 0
end
local names = {}
for i, key in ipairs(expired) do
  names[i] = ARGV[1] .. key
end
redis.call('UNLINK', unpack(names))
redis.call('ZREM', KEYS[1], unpack(expired))
redis.call('ZREM', KEYS[2], unpack(expired))
return #expired
