-- Applies retention. KEYS: counters, messages, ids, gone.
-- ARGV: most messages, most tokens ('' for none), whether to keep system messages ('1'), the last
-- number to evict ('' for none), incarnation and revision ('' for any).
-- Cost: O(evicted).
-- Says how many were evicted; -1 where the lineage is another than is given (incarnation and revision,
-- '' for any).
local counters = read_counters(KEYS[1])
if ARGV[5] ~= '' and (tonumber(ARGV[5]) ~= (counters and counters[INCARNATION] or 0) or
                      tonumber(ARGV[6]) ~= (counters and counters[REVISION] or 0)) then
  return -1
end
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
