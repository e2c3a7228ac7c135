-- Stores an entry. KEYS: versions, working, expiries, entry.
-- ARGV: key, condition ('', 'absent' or a version), ttl in ms or '', body.
-- Says how the entry begins. Cost: O(log n), n being the scope's entries; O(1) where the entry was
-- there and neither it nor the new one expires.
-- What can fail comes before the entry is written: a key that is listed and not there is no entry.
local now = now_ms()
local had, version, created = head(KEYS[4], now)
if ARGV[2] ~= '' and ARGV[2] ~= (version or 'absent') then
  return 'conflict ' .. (version or '0')
end
local next = next_version(KEYS[1])
if not next then
  return 'unregistered'
end
local now_text = digits(now)
local expires = expiry(now, ARGV[3])
local text = expires .. ' ' .. next .. ' ' .. (created or now_text) .. ' ' .. now_text
if expires == NEVER then
  -- One that expired may not be swept yet.
  if had ~= NEVER then
    redis.call('ZREM', KEYS[3], ARGV[1])
  end
  if not had then
    redis.call('ZADD', KEYS[2], '0', ARGV[1])
  end
  redis.call('SET', KEYS[4], text .. ' ' .. ARGV[4])
else
  if not had then
    sweep(KEYS[2], KEYS[3], now_text, 2)
    redis.call('ZADD', KEYS[2], '0', ARGV[1])
  end
  redis.call('ZADD', KEYS[3], digits(tonumber(expires)), ARGV[1])
  redis.call('SET', KEYS[4], text .. ' ' .. ARGV[4], 'PXAT', last_moment(expires))
end
return 'ok ' .. text
