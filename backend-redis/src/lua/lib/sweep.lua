-- Sweeps up to a given number of expired entries, as new entries come, so that the sets stay as large as
-- what they list.
local function sweep(working, expiries, now_text, most)
  local swept = redis.call('ZRANGEBYSCORE', expiries, '-inf', now_text, 'LIMIT', 0, most)
  if #swept > 0 then
    redis.call('ZREM', expiries, unpack(swept))
    redis.call('ZREM', working, unpack(swept))
  end
end
