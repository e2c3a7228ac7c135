-- Stores entries, all or none.
-- KEYS: versions, working, expiries, then an entry each.
-- ARGV: how long the part of the entries' names is that stands before the key; then either 'same'
-- and the ttl of all, in ms or '', and for each entry its body; or 'each' and '', and for each entry
-- body, condition ('', 'absent' or a version) and ttl.
-- Gives version and time, when each was first put ('' for now) and when each expires (one for all
-- where they are the same).
-- Cost: O(log n) for each entry put, n being the scope's entries.
-- What can fail comes before any entry is written, as in put.lua.
local call, sub = redis.call, string.sub
local working, expiries = KEYS[2], KEYS[3]
local key_from = ARGV[1] + 1
local same = ARGV[2] == 'same'
local stride = same and 1 or 3
local count = #KEYS - 3
local now = now_ms()
local now_text = digits(now)

-- When each that is there expires, and when it was first put.
local had, created = {}, {}
-- It pays to know first that all keys are new.
local all_new = call('EXISTS', unpack(KEYS, 4)) == 0
if not (all_new and same) then
  for i = 1, count do
    local expires, text
    if not all_new then
      expires, text = head(KEYS[3 + i], now)
    end
    local condition = same and '' or ARGV[3 * i + 2]
    if condition ~= '' and condition ~= (text and version_of(text) or 'absent') then
      return {'conflict', i, text and version_of(text) or '0'}
    end
    had[i], created[i] = expires or false, text and created_of(text) or now_text
  end
end
local version = next_version(KEYS[1])
if not version then
  return 'unregistered'
end

local lasting, unexpired, expiring, listed, expires_at = {}, {}, {}, {}, {}
local all_expire = same and expiry(now, ARGV[3])
local middle, ending = ' ' .. version .. ' ', ' ' .. now_text .. ' '
local same_start = all_new and same and all_expire .. middle .. now_text .. ending
-- One that is new and expired may not be swept yet.
local may_expire = call('EXISTS', expiries) == 1
for i = 1, count do
  local at, name, before = stride * (i - 1) + 4, KEYS[3 + i], had[i]
  local expires = all_expire or expiry(now, ARGV[at + 2])
  if not before then
    listed[#listed + 1] = '0'
    listed[#listed + 1] = sub(name, key_from)
  end
  if expires == NEVER then
    lasting[#lasting + 1] = name
    lasting[#lasting + 1] = (same_start or expires .. middle .. created[i] .. ending) .. ARGV[at]
    if may_expire and before ~= NEVER then
      unexpired[#unexpired + 1] = sub(name, key_from)
    end
  else
    expiring[#expiring + 1] = expires
    expiring[#expiring + 1] = sub(name, key_from)
  end
  if not same then
    expires_at[i] = expires
  end
end
if #expiring > 0 and #listed > 0 then
  sweep(working, expiries, now_text, 2 * count)
end
if #unexpired > 0 then
  call('ZREM', expiries, unpack(unexpired))
end
if #listed > 0 then
  call('ZADD', working, unpack(listed))
end
if #expiring > 0 then
  call('ZADD', expiries, unpack(expiring))
end
if #lasting > 0 then
  call('MSET', unpack(lasting))
end
if #expiring > 0 then
  for i = 1, count do
    local at, expires = stride * (i - 1) + 4, all_expire or expires_at[i]
    if expires ~= NEVER then
      local start = same_start or expires .. middle .. created[i] .. ending
      call('SET', KEYS[3 + i], start .. ARGV[at], 'PXAT', last_moment(expires))
    end
  end
end
return {'ok', version, now_text, table.concat(created, ' '),
        all_expire or table.concat(expires_at, ' ')}
