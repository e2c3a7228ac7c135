-- Removes the newest messages: all behind a number, or as many as are asked for.
-- KEYS: activity, counters, messages, ids, gone.
-- ARGV: conversation, the number that the newest message is to have ('' for any), the number ('' for
-- as many as), how many ('' for all).
-- Says 'ok' and how many were removed, or, where as many were asked for, the messages, newest first;
-- or 'newer' and the number of the newest message.
-- Cost: O(removed + log conversations).
local function number_of(message)
  return tonumber(string.match(message[1], '^%d+'))
end

local counters = read_counters(KEYS[2])
local newest = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
newest = newest and number_of(newest) or 0
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= newest then
  return {'newer', digits(newest)}
end
local after, left = tonumber(ARGV[3]) or 0, tonumber(ARGV[4]) or math.huge
local removed, given, first = 0, {}, nil
if not counters or after >= counters[LAST] then
  return {'ok', ARGV[4] ~= '' and given or removed}
end
while left > 0 do
  local batch = redis.call('XREVRANGE', KEYS[3], '+', digits(after + 1), 'COUNT',
                           digits(math.min(left, 128)))
  for _, message in ipairs(batch) do
    local role, tokens, id = message_head(message[2][2])
    redis.call('XDEL', KEYS[3], message[1])
    count_message(counters, role, tokens, -1)
    if id ~= '' then
      redis.call('ZADD', KEYS[5], digits(counters[LAST]), id)
    end
    if ARGV[4] ~= '' then
      given[#given + 1] = message
    end
    first = number_of(message)
  end
  removed, left = removed + #batch, left - #batch
  if #batch < 128 then
    break
  end
end
local through = ARGV[3] == '' and first and first - 1 or after
if first or ARGV[3] ~= '' then
  revise(counters, through)
  write_counters(KEYS[2], counters)
  local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  redis.call('ZADD', KEYS[1], last and '-' .. string.match(last[1], '%d+$') or NO_MESSAGE, ARGV[1])
end
return {'ok', ARGV[4] ~= '' and given or removed}
