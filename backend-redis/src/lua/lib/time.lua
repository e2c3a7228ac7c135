-- The server's time in milliseconds since 1970: a whole number far below 2^53.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
