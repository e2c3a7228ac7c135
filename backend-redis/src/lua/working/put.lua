-- Stores an entry. KEYS: versions, working, expiries, entry.
-- ARGV: key, condition ('', 'absent' or a version), ttl in ms or '', body.
-- Says how the entry begins. Cost: O(log n), n being the scope's entries; O(1) where the entry was
-- there and neither it nor the new one expires.
-- What can fail comes before the entry is written: a key that is listed and not there is no entry.
-- What entries.lua does stands here written out, since making its functions would take a tenth of
-- the script's time.
local call = redis.call
local time = call('TIME')
local now = string.format('%s%03d', time[1], time[2] / 1000)
local text = call('GETRANGE', KEYS[4], '0', '63')
local had, version, created
if text ~= '' then
  had, version = string.sub(text, 1, 15), string.sub(text, 17, 32)
  created = string.match(text, '^%d+', 34)
  if had ~= NEVER and tonumber(had) <= tonumber(now) then
    had, version, created = nil, nil, nil
  end
end
if ARGV[2] ~= '' and ARGV[2] ~= (version or 'absent') then
  return 'conflict ' .. (version or '0')
end
local next = call('INCR', KEYS[1])
if next == 1 then
  call('DEL', KEYS[1])
  return 'unregistered'
end
local expires = NEVER
if ARGV[3] ~= '' then
  expires = string.format('%015.0f', math.min(now + ARGV[3], LATEST))
end
local head = string.format('%s %016.0f %s %s', expires, next, created or now, now)
if expires == NEVER then
  -- One that expired may not be swept yet.
  if had ~= NEVER then
    call('ZREM', KEYS[3], ARGV[1])
  end
  if not had then
    call('ZADD', KEYS[2], '0', ARGV[1])
  end
  call('SET', KEYS[4], head .. ' ' .. ARGV[4])
else
  if not had then
    sweep(KEYS[2], KEYS[3], now, '2')
    call('ZADD', KEYS[2], '0', ARGV[1])
  end
  call('ZADD', KEYS[3], expires, ARGV[1])
  -- The server keeps a key through the millisecond of its expiry; the contract does not.
  call('SET', KEYS[4], head .. ' ' .. ARGV[4], 'PXAT', string.format('%.0f', expires - 1))
end
return head
