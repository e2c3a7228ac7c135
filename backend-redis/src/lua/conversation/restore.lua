-- Puts messages back behind what a conversation holds.
-- KEYS: versions, conversations, activity, counters, messages, ids, gone.
-- ARGV: conversation, last number given, the lineage, the incarnation of a conversation that begins
-- where the lineage has none, how many messages, then for each its number, its time and
-- the message; then for each that carries an id its place among them, id and digest.
-- Says 'ok' and how many were written; 'taken' and the place of one whose number another message
-- has or had; 'differs', and for each that has another text its place and that text; or 'id', and
-- one that another message has.
-- Cost: O(log n) for each message, n being what is held.
local count = tonumber(ARGV[7])
local ids_from = 7 + 3 * count
local counters = read_counters(KEYS[4])
if not counters then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    return 'unregistered'
  end
  -- Seen to before anything is written, for nothing could be taken back.
  if redis.call('EXISTS', KEYS[5], KEYS[6], KEYS[7]) > 0 then
    return 'foreign'
  end
end
local last = counters and counters[LAST] or 0

local known, differing = 0, {}
for i = 1, count do
  local seq = tonumber(ARGV[3 * i + 5])
  if seq > last then
    break
  end
  known = i
  local place = ARGV[3 * i + 5] .. '-' .. ARGV[3 * i + 6]
  local held = redis.call('XRANGE', KEYS[5], place, place)[1]
  if not held then
    return {'taken', i}
  end
  local text = held[2][2]
  if text ~= ARGV[3 * i + 7] then
    differing[#differing + 1] = i
    differing[#differing + 1] = text
  end
end
if #differing > 0 then
  return {'differs', unpack(differing)}
end

local asked, learnt = {}, {}
for i = ids_from + 1, #ARGV, 3 do
  local at = tonumber(ARGV[i])
  if at > known then
    asked[#asked + 1] = ARGV[i + 1]
    learnt[#learnt + 1] = ARGV[i + 1]
    learnt[#learnt + 1] = ARGV[3 * at + 5] .. ' ' .. ARGV[3 * at + 6] .. ' ' .. ARGV[i + 2]
  end
end
if #asked > 0 then
  for i, other in ipairs(redis.call('HMGET', KEYS[6], unpack(asked))) do
    if other then
      return {'id', asked[i]}
    end
  end
end

if not counters then
  redis.call('ZADD', KEYS[2], 0, ARGV[1])
  redis.call('ZADD', KEYS[3], NO_MESSAGE, ARGV[1])
  counters = {0, 1, 0, 0, 0, 0, 0, 0, tonumber(ARGV[6]), 0, 0}
  if ARGV[3] ~= '0' then
    counters[INCARNATION] = tonumber(ARGV[3])
  end
end
-- A conversation that begins takes the lineage over; one of the same incarnation joins it.
if counters[INCARNATION] == tonumber(ARGV[3]) then
  counters[REVISION] = math.max(counters[REVISION], tonumber(ARGV[4]))
  counters[SUMMARIZED] = math.max(counters[SUMMARIZED], tonumber(ARGV[5]))
end
for i = known + 1, count do
  local text = ARGV[3 * i + 7]
  local role, tokens = message_head(text)
  count_message(counters, role, tokens, 1)
  redis.call('XADD', KEYS[5], ARGV[3 * i + 5] .. '-' .. ARGV[3 * i + 6], 'm', text)
end
if #learnt > 0 then
  redis.call('HSET', KEYS[6], unpack(learnt))
end
if count > known then
  redis.call('ZADD', KEYS[3], '-' .. ARGV[3 * count + 6], ARGV[1])
end
counters[LAST] = math.max(last, tonumber(ARGV[2]))
write_counters(KEYS[4], counters)
return {'ok', count - known}
