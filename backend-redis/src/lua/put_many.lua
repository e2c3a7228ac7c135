-- Stores entries, all or none.
-- KEYS: versions, working, expiries, then an entry each.
-- ARGV: either 'same' and the ttl of all, in ms or '', then for each entry key and body; or 'each'
-- and '', then for each entry key, body, condition ('', 'absent' or a version), ttl.
-- Gives version and time, when each was first put ('' for now) and when each expires (one for all
-- where they are the same).
-- Cost: O(log n) for each entry put, n being the scope's entries.
-- What can fail comes before any entry is written, as in put.lua.
local versions, working, expiries = KEYS[1], KEYS[2], KEYS[3]
local now = now_ms()
local now_text = digits(now)
local count = #KEYS - 3
local same = ARGV[1] == 'same'
local stride = same and 2 or 4

-- It pays to know first that all keys are new.
local all_new = redis.call('EXISTS', unpack(KEYS, 4)) == 0
local had, created = {}, {}
if not (all_new and same) then
  for i = 1, count do
    local condition = same and '' or ARGV[4 * i + 1]
    local expires, version, since
    if not all_new then
      expires, version, since = head(KEYS[3 + i], now)
    end
    if condition ~= '' and condition ~= (version or 'absent') then
      return {'conflict', i, version or '0'}
    end
    had[i], created[i] = expires or false, since or now_text
  end
end
local version = next_version(versions)
if not version then
  return {'unregistered'}
end

local lasting, unexpired, expiring, listed, expires_at = {}, {}, {}, {}, {}
local all_expire = same and expiry(now, ARGV[2])
local middle = ' ' .. version .. ' '
local ending = ' ' .. now_text .. ' '
local same_start = all_new and same and all_expire .. middle .. now_text .. ending
for i = 1, count do
  local at = stride * i - stride + 3
  local key, expires = ARGV[at], all_expire or expiry(now, ARGV[at + 3])
  local start = same_start or expires .. middle .. created[i] .. ending
  if expires == NEVER then
    lasting[#lasting + 1] = KEYS[3 + i]
    lasting[#lasting + 1] = start .. ARGV[at + 1]
    -- One that expired may not be swept yet.
    if had[i] ~= NEVER then
      unexpired[#unexpired + 1] = key
    end
  else
    expiring[#expiring + 1] = digits(tonumber(expires))
    expiring[#expiring + 1] = key
  end
  if not had[i] then
    listed[#listed + 1] = '0'
    listed[#listed + 1] = key
  end
  expires_at[i] = not same and expires or nil
end
if #expiring > 0 and #listed > 0 then
  sweep(working, expiries, now_text, 2 * count)
end
if #unexpired > 0 and redis.call('EXISTS', expiries) == 1 then
  redis.call('ZREM', expiries, unpack(unexpired))
end
if #listed > 0 then
  redis.call('ZADD', working, unpack(listed))
end
if #expiring > 0 then
  redis.call('ZADD', expiries, unpack(expiring))
end
if #lasting > 0 then
  redis.call('MSET', unpack(lasting))
end
if #expiring > 0 then
  for i = 1, count do
    local at = stride * i - stride + 3
    local expires = all_expire or expires_at[i]
    if expires ~= NEVER then
      local start = same_start or expires .. middle .. created[i] .. ending
      redis.call('SET', KEYS[3 + i], start .. ARGV[at + 1], 'PXAT', last_moment(expires))
    end
  end
end
return {'ok', version, now_text, table.concat(created, ' '),
        all_expire or table.concat(expires_at, ' ')}
