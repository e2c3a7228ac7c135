-- The server's time in milliseconds since 1970: a whole number far below 2^53.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The digits of a whole number below 2^53.
local function digits(number)
  return string.format('%.0f', number)
end
-- An entry of working memory is one string:
--   EXPIRES VERSION CREATED UPDATED METADATA \n VALUE
-- EXPIRES has 15 digits, so that it can be overwritten in place; all zero means never. Values stay
-- text here: Lua's numbers are floats.
local NEVER = '000000000000000'
local LATEST = 253402207200000 -- the last representable time

-- Expires, version and created of the entry; nothing where there is none or it has expired.
local function head(entry, now)
  local text = redis.call('GETRANGE', entry, 0, 79)
  local expires, version, created = string.match(text, '^(%d+) (%d+) (%d+) ')
  if expires and (expires == NEVER or tonumber(expires) > now) then
    return expires, version, created
  end
end

-- The next version; nothing where the scope is not registered, and so has no counter. The counter
-- starts at the server's microseconds when the scope is registered, so that it is past 1, and stays
-- below 2^53.
local function next_version(versions)
  local version = redis.call('INCR', versions)
  if version == 1 then
    redis.call('DEL', versions)
    return nil
  end
  return digits(version)
end

-- When an entry expires that lives so many milliseconds from now.
local function expiry(now, ttl)
  if ttl == '' then
    return NEVER
  end
  return string.format('%015.0f', math.min(now + tonumber(ttl), LATEST))
end

-- The server keeps a key through the millisecond of its expiry; the contract does not.
local function last_moment(expires)
  return digits(tonumber(expires) - 1)
end
-- Sweeps up to so many of what has expired, as new entries come, so that the sets stay as large as
-- what they list.
local function sweep(working, expiries, now_text, most)
  local swept = redis.call('ZRANGEBYSCORE', expiries, '-inf', now_text, 'LIMIT', 0, most)
  if #swept > 0 then
    redis.call('ZREM', expiries, unpack(swept))
    redis.call('ZREM', working, unpack(swept))
  end
end
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
