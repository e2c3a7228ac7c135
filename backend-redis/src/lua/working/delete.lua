-- Deletes an entry. KEYS: entry, working, expiries. ARGV: key, version or ''.
-- Cost: O(log n), n being the scope's entries.
local expires, text = head(KEYS[1], now_ms())
if expires and ARGV[2] ~= '' and ARGV[2] ~= version_of(text) then
  return {'conflict', version_of(text)}
end
redis.call('UNLINK', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return {'ok', expires and 1 or 0}
