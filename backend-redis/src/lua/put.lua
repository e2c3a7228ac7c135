-- Stores entries, all or none.
-- KEYS: versions, working, expiries, then an entry each.
-- ARGV: for each entry key, condition ('', 'absent' or a version), ttl in ms or '', body.
-- Cost: O(log n) for each entry put, n being the scope's entries.
local versions, working, expiries = KEYS[1], KEYS[2], KEYS[3]
local now = now_ms()
local now_text = digits(now)
local count = #KEYS - 3
-- Of a large batch it pays to know first that all its keys are new.
local all_new = count > 1 and redis.call('EXISTS', unpack(KEYS, 4)) == 0
local had, created = {}, {}
for i = 1, count do
  local condition = ARGV[4 * i - 2]
  local expires, version, since
  if not all_new then
    expires, version, since = head(KEYS[3 + i], now)
  end
  if (condition == 'absent' and version) or
     (condition ~= '' and condition ~= 'absent' and condition ~= version) then
    return {'conflict', i, version or '0'}
  end
  had[i], created[i] = expires or false, since or now_text
end

local version = next_version(versions)
if not version then
  return {'unregistered'}
end

local lasting, lasting_keys, expiring, listed, expires_at = {}, {}, {}, {}, {}
for i = 1, count do
  local key = ARGV[4 * i - 3]
  local expires = expiry(now, ARGV[4 * i - 1])
  local text = expires .. ' ' .. version .. ' ' .. created[i] .. ' ' .. now_text .. ' ' .. ARGV[4 * i]
  if expires == NEVER then
    lasting[#lasting + 1] = KEYS[3 + i]
    lasting[#lasting + 1] = text
    if had[i] ~= NEVER then
      lasting_keys[#lasting_keys + 1] = key
    end
  else
    redis.call('SET', KEYS[3 + i], text, 'PXAT', last_moment(expires))
    expiring[#expiring + 1] = digits(tonumber(expires))
    expiring[#expiring + 1] = key
  end
  if not had[i] then
    listed[#listed + 1] = '0'
    listed[#listed + 1] = key
  end
  expires_at[i] = expires
end
if #lasting > 0 then
  redis.call('MSET', unpack(lasting))
end
if #lasting_keys > 0 then
  redis.call('ZREM', expiries, unpack(lasting_keys))
end
if #expiring > 0 then
  -- What expired is swept as new entries come, so that the sets stay as large as what they list.
  local swept = redis.call('ZRANGEBYSCORE', expiries, '-inf', now_text, 'LIMIT', 0, 2 * count)
  if #swept > 0 then
    redis.call('ZREM', expiries, unpack(swept))
    redis.call('ZREM', working, unpack(swept))
  end
  redis.call('ZADD', expiries, unpack(expiring))
end
if #listed > 0 then
  redis.call('ZADD', working, unpack(listed))
end
return {'ok', version, now_text, table.concat(created, ' '), table.concat(expires_at, ' ')}
