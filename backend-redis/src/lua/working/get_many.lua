-- Reads entries, none of them where they are too large in all. KEYS: an entry each.
-- ARGV: the most bytes.
-- Cost: O(1) for each entry.
local left = tonumber(ARGV[1])
for i = 1, #KEYS do
  left = left - redis.call('STRLEN', KEYS[i])
  if left < 0 then
    return 'too_large'
  end
end
return redis.call('MGET', unpack(KEYS))
