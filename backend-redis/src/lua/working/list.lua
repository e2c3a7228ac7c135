-- Lists entries in byte order. KEYS: working, expiries.
-- ARGV: what entries' names start with, least and greatest key as ZRANGEBYLEX has them, how many.
-- Cost: O(log n + page); keys that expired leave the sets as they are met.
local from, wanted = ARGV[2], tonumber(ARGV[4])
local now = now_ms()
local found = {}
while #found < 2 * wanted do
  local keys = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[3], 'LIMIT', 0,
                          math.min(wanted - #found / 2, 1000))
  if #keys == 0 then
    break
  end
  local names, stale = {}, {}
  for i, key in ipairs(keys) do
    names[i] = ARGV[1] .. key
  end
  for i, text in ipairs(redis.call('MGET', unpack(names))) do
    local expires = text and string.sub(text, 1, 15)
    if expires and (expires == NEVER or tonumber(expires) > now) then
      found[#found + 1] = keys[i]
      found[#found + 1] = text
    else
      stale[#stale + 1] = keys[i]
    end
  end
  if #stale > 0 then
    redis.call('ZREM', KEYS[1], unpack(stale))
    redis.call('ZREM', KEYS[2], unpack(stale))
  end
  from = '(' .. keys[#keys]
end
return found
