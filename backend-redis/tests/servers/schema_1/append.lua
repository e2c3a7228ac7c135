-- The server's time in milliseconds since 1970: a whole number far below 2^53.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The digits of a whole number below 2^53.
local function digits(number)
  return string.format('%.0f', number)
end
-- A conversation's figures are one string of numbers: the last number given, the number before
-- which only system messages remain, the tokens of system messages, all tokens, and how many
-- messages of each role. They stay below 2^53, so that Lua keeps them exactly.
local LAST, FRONTIER, SYSTEM_TOKENS, TOKENS, SYSTEM = 1, 2, 3, 4, 5
local ROLES = {s = SYSTEM, u = 6, a = 7, t = 8}

local function read_figures(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  local a, b, c, d, e, f, g, h =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {tonumber(a), tonumber(b), tonumber(c), tonumber(d),
          tonumber(e), tonumber(f), tonumber(g), tonumber(h)}
end

local function write_figures(key, figures)
  redis.call('SET', key,
             string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', unpack(figures)))
end

local function message_count(figures)
  return figures[5] + figures[6] + figures[7] + figures[8]
end

-- Counts a message in (sign 1) or out (sign -1).
local function count_message(figures, role, tokens, sign)
  figures[ROLES[role]] = figures[ROLES[role]] + sign
  figures[TOKENS] = figures[TOKENS] + sign * tokens
  if role == 's' then
    figures[SYSTEM_TOKENS] = figures[SYSTEM_TOKENS] + sign * tokens
  end
end
-- Evicts from the front until the rest is within the limits ('' for none); the newest message
-- stays. Says how many went. Cost: O(evicted), so that an append pays for what it made too much.
local function evict(figures, messages, gone, max_messages, max_tokens, keep_system)
  local keep = keep_system == '1'
  local room, token_room = tonumber(max_messages), tonumber(max_tokens)
  local count, tokens = message_count(figures), figures[TOKENS]
  if keep then
    count, tokens = count - figures[SYSTEM], tokens - figures[SYSTEM_TOKENS]
    room = room and math.max(room - figures[SYSTEM], 0)
    token_room = token_room and math.max(token_room - figures[SYSTEM_TOKENS], 0)
  end
  -- No limit is one that nothing passes.
  room, token_room = room or math.huge, token_room or math.huge

  local evicted, chunk = 0, 1
  local from = keep and figures[FRONTIER] or 0
  while count > room or tokens > token_room do
    chunk = math.min(math.max(count - room, chunk), 128)
    local batch = redis.call('XRANGE', messages, digits(from), '+', 'COUNT', chunk)
    local doomed, forgotten, ended = {}, {}, #batch < chunk
    for _, message in ipairs(batch) do
      local seq = tonumber(string.match(message[1], '^%d+'))
      if seq == figures[LAST] or (count <= room and tokens <= token_room) then
        ended = true
        break
      end
      local role, size, id = message[2][2], tonumber(message[2][4]), message[2][6]
      if not (keep and role == 's') then
        doomed[#doomed + 1] = message[1]
        count_message(figures, role, size, -1)
        count, tokens = count - 1, tokens - size
        if id ~= '' then
          forgotten[#forgotten + 1] = digits(figures[LAST])
          forgotten[#forgotten + 1] = id
        end
      end
      from = seq + 1
    end
    if #forgotten > 0 then
      redis.call('ZADD', gone, unpack(forgotten))
    end
    if #doomed > 0 then
      redis.call('XDEL', messages, unpack(doomed))
      evicted = evicted + #doomed
    end
    if ended then
      break
    end
    chunk = chunk * 4
  end
  if keep then
    figures[FRONTIER] = from
  end
  return evicted
end
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
