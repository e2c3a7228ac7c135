-- Says whether a name is registered and not being erased.
-- KEYS: names, erasing. ARGV: name. Cost: O(1).
if redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return 1
end
return 0
