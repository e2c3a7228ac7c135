-- Puts entries back as they were elsewhere, all or none.
-- KEYS: versions, working, expiries, then an entry each.
-- ARGV: how long the part of the entries' names is that stands before the key, whether to take the
-- place of what differs ('1'), the highest version, then each entry's text.
-- Says 'ok' and how many were written; or 'differs', and for each entry that has another text its
-- place and that text.
-- Cost: O(log n) for each entry, n being the scope's entries, and reading those that are there.
-- What can fail comes before any entry is written, as in put.lua.
local key_from, overwrite = ARGV[1] + 1, ARGV[2] == '1'
local now = now_ms()
local missing, differing = {}, {}
for i = 1, #KEYS - 3 do
  local name, text = KEYS[3 + i], ARGV[3 + i]
  if head(name, now) then
    local held = redis.call('GET', name)
    if held ~= text then
      missing[#missing + 1] = i
      differing[#differing + 1] = i
      differing[#differing + 1] = held
    end
  else
    missing[#missing + 1] = i
  end
end
if #differing > 0 and not overwrite then
  return {'differs', unpack(differing)}
end

local counter = redis.call('GET', KEYS[1])
if not counter then
  return 'unregistered'
end
-- Versions given afterwards are greater.
if tonumber(counter) < tonumber(ARGV[3]) then
  redis.call('SET', KEYS[1], ARGV[3])
end
local listed, expiring, lasting, dead = {}, {}, {}, {}
for _, i in ipairs(missing) do
  local key, expires = string.sub(KEYS[3 + i], key_from), string.sub(ARGV[3 + i], 1, 15)
  if expires ~= NEVER and tonumber(expires) <= now then
    dead[#dead + 1] = key
    lasting[#lasting + 1] = key
  else
    listed[#listed + 1] = '0'
    listed[#listed + 1] = key
    if expires == NEVER then
      lasting[#lasting + 1] = key
    else
      expiring[#expiring + 1] = expires
      expiring[#expiring + 1] = key
    end
  end
end
if #lasting > 0 then
  redis.call('ZREM', KEYS[3], unpack(lasting))
end
if #dead > 0 then
  redis.call('ZREM', KEYS[2], unpack(dead))
end
if #listed > 0 then
  redis.call('ZADD', KEYS[2], unpack(listed))
end
if #expiring > 0 then
  redis.call('ZADD', KEYS[3], unpack(expiring))
end
for _, i in ipairs(missing) do
  local name, text = KEYS[3 + i], ARGV[3 + i]
  local expires = string.sub(text, 1, 15)
  if expires == NEVER then
    redis.call('SET', name, text)
  elseif tonumber(expires) <= now then
    redis.call('UNLINK', name)
  else
    redis.call('SET', name, text, 'PXAT', last_moment(expires))
  end
end
return {'ok', #missing}
