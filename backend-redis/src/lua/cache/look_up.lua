-- Looks something up in a shared cache: {1, what is kept}, or {0, a lease}.
-- KEYS: epoch, item. ARGV: how long a lease holds, in ms. Cost: O(1).
-- The server's microseconds name epochs and leases; a script takes longer than one.
local time = redis.call('TIME')
local name = string.format('%016.0f', time[1] * 1000000 + time[2])
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = name
  redis.call('SET', KEYS[1], epoch, 'PX', 86400000)
end
local item = redis.call('GET', KEYS[2])
local mark = item and string.sub(item, 1, 17)
if mark == 'V' .. epoch then
  return {1, string.sub(item, 18)}
elseif mark == 'L' .. epoch then
  return {0, string.sub(item, 18)}
end
-- An epoch outlives what is marked with it, so that none comes back.
redis.call('PEXPIRE', KEYS[1], 86400000 + ARGV[1])
redis.call('SET', KEYS[2], 'L' .. epoch .. name, 'PX', ARGV[1])
return {0, name}
