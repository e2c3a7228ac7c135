-- Adds to an integer.
-- KEYS: versions, working, expiries, entry, scratch. ARGV: key, what to add, ttl in ms or ''.
-- Cost: O(log n), n being the scope's entries.
local versions, working, expiries, entry, scratch = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local key, by = ARGV[1], ARGV[2]
local now = now_ms()
local expires, start = head(entry, now)
local version, created = '0', digits(now)
local metadata, value = '', '0'
if expires then
  version, created = version_of(start), created_of(start)
  local text = redis.call('GET', entry)
  metadata, value = string.match(text, '^%d+ %d+ %d+ %d+ ([^\n]*)\n(.*)$')
  if not string.match(value, '^-?%d+$') then
    return 'no_integer'
  end
end

-- The server's own 64-bit addition, which refuses what does not fit.
redis.call('SET', scratch, value)
local sum = redis.pcall('INCRBY', scratch, by)
local total = redis.call('GET', scratch)
redis.call('DEL', scratch)
if type(sum) == 'table' then
  return string.find(sum.err, 'overflow', 1, true) and 'overflow' or 'no_integer'
end

local next = next_version(versions)
if not next then
  return {'unregistered'}
end
local lived = expires
expires = expires or expiry(now, ARGV[3])
local text =
  table.concat({expires, next, created, digits(now), metadata .. '\n' .. total}, ' ')
if not lived then
  if expires == NEVER then
    redis.call('ZREM', expiries, key)
    redis.call('ZADD', working, '0', key)
  else
    sweep(working, expiries, digits(now), '2')
    redis.call('ZADD', working, '0', key)
    redis.call('ZADD', expiries, digits(tonumber(expires)), key)
  end
end
-- What can fail came before.
if expires == NEVER then
  redis.call('SET', entry, text)
else
  redis.call('SET', entry, text, 'PXAT', last_moment(expires))
end
return {'ok', total, next, digits(now), created, expires}
