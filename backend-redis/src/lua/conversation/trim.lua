-- Applies retention. KEYS: counters, messages, ids, gone.
-- ARGV: most messages, most tokens ('' for none), whether to keep system messages ('1'), the last
-- number to evict ('' for none).
-- Cost: O(evicted).
local counters = read_counters(KEYS[1])
if not counters then
  return 0
end
-- Numbers may have been restored past that of the newest message.
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
newest = newest and tonumber(string.match(newest[1], '^%d+')) or 0
local evicted = evict(counters, KEYS[2], KEYS[4], newest, ARGV[1], ARGV[2], ARGV[3],
                      ARGV[4])
write_counters(KEYS[1], counters)
return evicted
