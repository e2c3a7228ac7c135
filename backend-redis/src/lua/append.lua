-- Appends messages, or says where they were stored before, and applies retention.
-- KEYS: versions, conversations, figures, messages, ids, gone.
-- ARGV: conversation, most messages, most tokens ('' for none), whether to keep system messages
-- ('1'), how many messages carry ids, then for each message role, tokens, id ('' for none), digest
-- and body.
-- Says 'ok' with first number, time, evicted, messages, tokens; or what stands in the way.
-- Cost: O(appended + evicted), whatever is stored.
local versions, conversations, figures_key = KEYS[1], KEYS[2], KEYS[3]
local messages, ids, gone = KEYS[4], KEYS[5], KEYS[6]
local with_ids = tonumber(ARGV[5])
local count = (#ARGV - 5) / 5
local figures = read_figures(figures_key)

if with_ids > 0 and figures then
  local asked = {}
  for i = 1, count do
    local id = ARGV[5 * i + 3]
    if id ~= '' then
      asked[#asked + 1] = id
    end
  end
  local known = redis.call('HMGET', ids, unpack(asked))
  local stored, at = {}, 0
  for i = 1, count do
    if ARGV[5 * i + 3] ~= '' then
      at = at + 1
      if known[at] then
        local place, digest = string.match(known[at], '^(%d+ %d+) (.*)$')
        if digest ~= ARGV[5 * i + 4] then
          return {'conflict', 'differs', asked[at]}
        end
        stored[#stored + 1] = place
      end
    end
  end
  if #stored == count then
    return {'replayed', message_count(figures), digits(figures[TOKENS]), stored}
  elseif #stored > 0 then
    return {'conflict', 'partly', ''}
  end
end

if not figures then
  if redis.call('EXISTS', versions) == 0 then
    return {'unregistered'}
  end
  -- Seen to before anything is written, for nothing could be taken back.
  if redis.call('EXISTS', messages, ids, gone) > 0 then
    return {'foreign'}
  end
  redis.call('ZADD', conversations, 0, ARGV[1])
  figures = {0, 1, 0, 0, 0, 0, 0, 0}
end
local now = digits(now_ms())
local first = figures[LAST] + 1
local learnt = {}
for i = 1, count do
  local role, tokens, id = ARGV[5 * i + 1], ARGV[5 * i + 2], ARGV[5 * i + 3]
  local seq = digits(figures[LAST] + i)
  redis.call('XADD', messages, seq .. '-' .. now, 'r', role, 'k', tokens, 'i', id, 'b',
             ARGV[5 * i + 5])
  count_message(figures, role, tonumber(tokens), 1)
  if id ~= '' then
    learnt[#learnt + 1] = id
    learnt[#learnt + 1] = seq .. ' ' .. now .. ' ' .. ARGV[5 * i + 4]
  end
end
figures[LAST] = figures[LAST] + count
if with_ids > 0 then
  redis.call('HSET', ids, unpack(learnt))
  -- An id is forgotten 1,000 numbers after its message went.
  local old = redis.call('ZRANGEBYSCORE', gone, '-inf', digits(figures[LAST] - 1000), 'LIMIT', 0,
                         2 * count)
  if #old > 0 then
    redis.call('HDEL', ids, unpack(old))
    redis.call('ZREM', gone, unpack(old))
  end
end
local evicted = 0
if ARGV[2] ~= '' or ARGV[3] ~= '' then
  evicted = evict(figures, messages, gone, ARGV[2], ARGV[3], ARGV[4])
end
write_figures(figures_key, figures)
return string.format('ok %.0f %s %.0f %.0f %.0f', first, now, evicted, message_count(figures),
                     figures[TOKENS])
