-- Keeps a value in a shared cache if its lease still holds, and says whether it did.
-- KEYS: epoch, item. ARGV: lease, for how long in ms, value. Cost: O(1).
local epoch = redis.call('GET', KEYS[1])
if not epoch or redis.call('GET', KEYS[2]) ~= 'L' .. epoch .. ARGV[1] then
  return 0
end
redis.call('PEXPIRE', KEYS[1], 86400000 + ARGV[2])
redis.call('SET', KEYS[2], 'V' .. epoch .. ARGV[3], 'PX', ARGV[2])
return 1
