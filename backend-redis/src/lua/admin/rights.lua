-- Tries every command that the scripts use, and says which of them the user may not run. It runs
-- them for nothing where it can, and else removes what it wrote.
-- KEYS: a string, a hash, a sorted set and a stream that do not exist. Cost: O(1).
local text, hash, set, stream = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local denied = {}
local function try(...)
  local answer = redis.pcall(...)
  local why = type(answer) == 'table' and answer.err
  if why and (string.find(why, 'NOPERM', 1, true) or string.find(why, "script can't", 1, true)) then
    denied[#denied + 1] = (...)
  end
end
try('DEL', text, hash, set, stream)
try('UNLINK', text)
if #denied > 0 then
  return denied
end
try('TIME')
try('EXISTS', text)
try('SET', text, '1', 'PX', 60000)
try('INCR', text)
try('INCRBY', text, 1)
try('GET', text)
try('STRLEN', text)
try('GETRANGE', text, 0, 1)
try('SETRANGE', text, 0, '1')
try('MGET', text)
try('MSET', text, '1')
try('PEXPIRE', text, 60000)
try('PEXPIREAT', text, '253402207200000')
try('HSET', hash, 'f', '1')
try('HGET', hash, 'f')
try('HMGET', hash, 'f')
try('HEXISTS', hash, 'f')
try('HKEYS', hash)
try('HDEL', hash, 'f')
try('ZADD', set, 0, 'm')
try('ZSCORE', set, 'm')
try('ZCARD', set)
try('ZCOUNT', set, 0, 1)
try('ZRANGE', set, 0, 1)
try('ZRANGEBYLEX', set, '-', '+')
try('ZRANGEBYSCORE', set, 0, 1)
try('ZREM', set, 'm')
try('XADD', stream, '1-1', 'f', '1')
try('XLEN', stream)
try('XRANGE', stream, '-', '+')
try('XREVRANGE', stream, '+', '-')
try('XDEL', stream, '1-1')
redis.pcall('DEL', text, hash, set, stream)
return denied
