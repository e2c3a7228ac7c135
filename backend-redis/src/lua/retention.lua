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
