-- Reads entries and lets those that expire live at least so long from now.
-- Where they are too large in all, nothing is read or extended.
-- KEYS: expiries, then an entry each. ARGV: how long in ms, the most bytes, then a key each.
-- Cost: O(log n) for each entry, n being the scope's entries.
local expiries = KEYS[1]
local now = now_ms()
local wanted = expiry(now, ARGV[1])
local left = tonumber(ARGV[2])
for i = 2, #KEYS do
  left = left - redis.call('STRLEN', KEYS[i])
  if left < 0 then
    return 'too_large'
  end
end
local found = {}
for i = 2, #KEYS do
  local expires = head(KEYS[i], now)
  found[i - 1] = false
  if expires then
    if expires ~= NEVER and expires < wanted then
      -- In this order, so that the entry outlives what its text says where a step fails.
      redis.call('ZADD', expiries, digits(tonumber(wanted)), ARGV[i + 1])
      redis.call('PEXPIREAT', KEYS[i], last_moment(wanted))
      redis.call('SETRANGE', KEYS[i], 0, wanted)
    end
    found[i - 1] = redis.call('GET', KEYS[i])
  end
end
return found
