-- Evicts from the front until the rest is within the limits ('' for none); the newest message
-- stays. Says how many went. Cost: O(evicted), so that an append pays for what it made too much.
local function evict(figures, messages, ids, gone, max_messages, max_tokens, keep_system)
  local keep = keep_system == '1'
  local most, most_tokens = tonumber(max_messages), tonumber(max_tokens)
  local function excess()
    local count, tokens = message_count(figures), figures[TOKENS]
    local room, token_room = most, most_tokens
    if keep then
      count, tokens = count - figures[SYSTEM], tokens - figures[SYSTEM_TOKENS]
      room = most and math.max(most - figures[SYSTEM], 0)
      token_room = most_tokens and math.max(most_tokens - figures[SYSTEM_TOKENS], 0)
    end
    if room and count > room then
      return count - room
    end
    return (token_room and tokens > token_room) and 1 or 0
  end

  local evicted, chunk = 0, 1
  local from = keep and figures[FRONTIER] or 0
  while true do
    local over = excess()
    if over == 0 then
      break
    end
    chunk = math.min(math.max(over, chunk), 128)
    local batch = redis.call('XRANGE', messages, digits(from), '+', 'COUNT', chunk)
    local doomed, forgotten, ended = {}, {}, #batch < chunk
    for _, message in ipairs(batch) do
      local seq = tonumber(string.match(message[1], '^%d+'))
      if seq == figures[LAST] or excess() == 0 then
        ended = true
        break
      end
      local role, tokens, id = message[2][2], message[2][4], message[2][6]
      if not (keep and role == 's') then
        doomed[#doomed + 1] = message[1]
        count_message(figures, role, tonumber(tokens), -1)
        if id ~= '' then
          forgotten[#forgotten + 1] = digits(figures[LAST])
          forgotten[#forgotten + 1] = id
        end
      end
      from = seq + 1
    end
    if #doomed > 0 then
      redis.call('XDEL', messages, unpack(doomed))
      evicted = evicted + #doomed
    end
    if #forgotten > 0 then
      redis.call('ZADD', gone, unpack(forgotten))
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
