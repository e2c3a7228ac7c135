-- Completes an erasure: removes the name, unless it was registered or marked again since.
-- KEYS: names, erasing. ARGV: name, the erasure's token. Cost: O(log n).
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
