-- Applies retention. KEYS: figures, messages, ids, gone.
-- ARGV: most messages, most tokens ('' for none), whether to keep system messages ('1').
-- Cost: O(evicted).
local figures = read_figures(KEYS[1])
if not figures then
  return 0
end
-- Numbers may have been restored past that of the newest message.
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest then
  return 0
end
newest = tonumber(string.match(newest[1], '^%d+'))
local evicted = evict(figures, KEYS[2], KEYS[4], newest, ARGV[1], ARGV[2], ARGV[3])
write_figures(KEYS[1], figures)
return evicted
