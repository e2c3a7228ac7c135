-- Evicts from the front until the rest is within the limits ('' for none), and nothing behind the
-- number `up_to` ('' for none); the newest message stays, whose number is given. Says how many went.
-- Cost: O(evicted), so that an append pays for what it made too much.
local function evict(counters, messages, gone, newest, max_messages, max_tokens, keep_system, up_to)
  local most = tonumber(up_to) or math.huge
  if up_to ~= '' then
    counters[SUMMARIZED] = math.max(counters[SUMMARIZED], math.min(most, counters[LAST]))
  end
  local keep = keep_system == '1'
  -- No limit is one that nothing passes.
  local room, token_room = tonumber(max_messages) or math.huge, tonumber(max_tokens) or math.huge
  local count, tokens, from = message_count(counters), counters[TOKENS], 0
  if keep then
    local system, system_tokens = counters[SYSTEM], counters[SYSTEM_TOKENS]
    count, tokens, from = count - system, tokens - system_tokens, counters[FRONTIER]
    room, token_room = math.max(room - system, 0), math.max(token_room - system_tokens, 0)
  end
  local evicted, chunk = 0, 1
  while count > room or tokens > token_room do
    chunk = math.min(math.max(count - room, chunk), 128)
    local batch = redis.call('XRANGE', messages, digits(from), '+', 'COUNT', digits(chunk))
    local ended = #batch < chunk
    for i = 1, #batch do
      local message = batch[i]
      local seq = tonumber(string.match(message[1], '^%d+'))
      if seq == newest or seq > most or (count <= room and tokens <= token_room) then
        ended = true
        break
      end
      local role, size, id = message_head(message[2][2])
      if not (keep and role == 's') then
        redis.call('XDEL', messages, message[1])
        evicted = evicted + 1
        count_message(counters, role, size, -1)
        count, tokens = count - 1, tokens - size
        if id ~= '' then
          redis.call('ZADD', gone, digits(counters[LAST]), id)
        end
      end
      from = seq + 1
    end
    if ended then
      break
    end
    chunk = chunk * 4
  end
  if keep then
    counters[FRONTIER] = from
  end
  return evicted
end
