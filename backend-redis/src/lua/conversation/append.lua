-- Appends messages, or says where they were stored before, and applies retention.
-- KEYS: versions, conversations, activity, counters, messages, ids, gone.
-- ARGV: conversation, most messages, most tokens ('' for none), whether to keep system messages
-- ('1'), the last number to evict ('' for none), the incarnation of a conversation that begins, how
-- many messages, what they add to the counters from the tokens of system messages on, the
-- messages; then for each that carries an id its place among them, id and digest.
-- Says 'ok' with first number, time, evicted, messages, tokens; or what stands in the way.
-- Cost: O(appended + evicted + log conversations), whatever is stored.
local count = tonumber(ARGV[7])
local ids_from = 13 + count
local counters = read_counters(KEYS[4])

if #ARGV > ids_from and counters then
  local asked = {}
  for i = ids_from + 2, #ARGV, 3 do
    asked[#asked + 1] = ARGV[i]
  end
  local known = redis.call('HMGET', KEYS[6], unpack(asked))
  local stored = {}
  for i, id in ipairs(asked) do
    if known[i] then
      local place, digest = string.match(known[i], '^(%d+ %d+) (.*)$')
      if digest ~= ARGV[ids_from + 3 * i] then
        return {'known', id}
      end
      stored[#stored + 1] = place
    end
  end
  if #stored == count then
    return {'replayed', message_count(counters), digits(counters[TOKENS]), stored}
  elseif #stored > 0 then
    return {'partly', digits(#stored)}
  end
end

if not counters then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'unregistered'
  end
  -- Seen to before anything is written, for nothing could be taken back.
  if redis.call('EXISTS', KEYS[5], KEYS[6], KEYS[7]) > 0 then
    return 'foreign'
  end
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
  counters = {0, 1, 0, 0, 0, 0, 0, 0, tonumber(ARGV[6]), 0, 0}
end
local time = redis.call('TIME')
local now = string.format('%s%03d', time[1], time[2] / 1000)
local last = counters[LAST]
for i = 1, count do
  redis.call('XADD', KEYS[5], string.format('%.0f-%s', last + i, now), 'm', ARGV[13 + i])
end
counters[LAST] = last + count
for i = SYSTEM_TOKENS, 8 do
  counters[i] = counters[i] + ARGV[5 + i]
end
if #ARGV > ids_from then
  local learnt = {}
  for i = ids_from + 1, #ARGV, 3 do
    learnt[#learnt + 1] = ARGV[i + 1]
    learnt[#learnt + 1] = digits(last + ARGV[i]) .. ' ' .. now .. ' ' .. ARGV[i + 2]
  end
  redis.call('HSET', KEYS[6], unpack(learnt))
  -- An id is forgotten 1,000 numbers after its message went.
  local old = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', digits(counters[LAST] - 1000), 'LIMIT', 0,
                         2 * count)
  if #old > 0 then
    redis.call('HDEL', KEYS[6], unpack(old))
    redis.call('ZREM', KEYS[7], unpack(old))
  end
end
local evicted = 0
if ARGV[2] ~= '' or ARGV[3] ~= '' or ARGV[5] ~= '' then
  evicted = evict(counters, KEYS[5], KEYS[7], counters[LAST], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
end
redis.call('ZADD', KEYS[3], '-' .. now, ARGV[1])
write_counters(KEYS[4], counters)
return string.format('ok %.0f %s %.0f %.0f %.0f', last + 1, now, evicted, message_count(counters),
                     counters[TOKENS])
