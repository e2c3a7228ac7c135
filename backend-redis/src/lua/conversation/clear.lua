-- Removes the messages of a conversation and says how many.
-- KEYS: activity, counters, messages, ids, gone. ARGV: conversation.
-- Cost: O(ids known); the server frees the messages in the background. Numbering goes on.
local counters = read_counters(KEYS[2])
if not counters then
  return 0
end
local count = message_count(counters)
local last = counters[LAST]
local known = redis.call('HKEYS', KEYS[4])
for i = 1, #known, 1000 do
  local forgotten = {}
  for j = i, math.min(i + 999, #known) do
    forgotten[#forgotten + 1] = digits(last)
    forgotten[#forgotten + 1] = known[j]
  end
  redis.call('ZADD', KEYS[5], 'NX', unpack(forgotten))
end
redis.call('ZADD', KEYS[1], NO_MESSAGE, ARGV[1])
redis.call('UNLINK', KEYS[3])
revise(counters, 0)
write_counters(KEYS[2], {last, last + 1, 0, 0, 0, 0, 0, 0, unpack(counters, INCARNATION)})
return count
