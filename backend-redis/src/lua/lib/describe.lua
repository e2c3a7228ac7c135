-- A conversation's counters, and the places of its oldest and newest message ('' for none).
local function describe(counters, messages)
  local text = redis.call('GET', counters)
  if not text then
    return nil
  end
  local oldest = redis.call('XRANGE', messages, '-', '+', 'COUNT', 1)
  local newest = redis.call('XREVRANGE', messages, '+', '-', 'COUNT', 1)
  return text, oldest[1] and oldest[1][1] or '', newest[1] and newest[1][1] or ''
end
