-- Lists entries in byte order, up to the one with which they are too large in all.
-- KEYS: working, expiries.
-- ARGV: what entries' names start with, least and greatest key as ZRANGEBYLEX has them, how many,
-- the most bytes.
-- Cost: O(log n + page); keys that expired leave the sets as they are met.
local from, wanted, left = ARGV[2], tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_ms()
local found = {}
while #found < 2 * wanted and left >= 0 do
  local keys = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[3], 'LIMIT', 0,
                          math.min(wanted - #found / 2, 1000))
  if #keys == 0 then
    break
  end
  local names, stale, size = {}, {}, 0
  for i, key in ipairs(keys) do
    names[i] = ARGV[1] .. key
    size = size + redis.call('STRLEN', names[i])
    if size > left then
      break
    end
  end
  for i, text in ipairs(redis.call('MGET', unpack(names))) do
    local expires = text and string.sub(text, 1, 15)
    if expires and (expires == NEVER or tonumber(expires) > now) then
      found[#found + 1] = keys[i]
      found[#found + 1] = text
      left = left - #text
    else
      stale[#stale + 1] = keys[i]
    end
  end
  if #stale > 0 then
    redis.call('ZREM', KEYS[1], unpack(stale))
    redis.call('ZREM', KEYS[2], unpack(stale))
  end
  from = '(' .. keys[#names]
end
return found
