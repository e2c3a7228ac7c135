-- A conversation's counters are one string of eight little-endian doubles: the last number given, the
-- number before which only system messages remain, the tokens of system messages, all tokens, and the
-- number of messages of each role. They stay below 2^53, so that doubles are exact.
local LAST, FRONTIER, SYSTEM_TOKENS, TOKENS, SYSTEM = 1, 2, 3, 4, 5
local ROLES = 'suat'

-- In the set of conversations by activity a score is the time of the newest message held, in ms and
-- negative, so that the newest is first and equal times ascend by name; or this, where none is held.
local NO_MESSAGE = 1

local function read_counters(key)
  local text = redis.call('GET', key)
  return text and {struct.unpack('<dddddddd', text)}
end

local function write_counters(key, counters)
  redis.call('SET', key, struct.pack('<dddddddd', unpack(counters, 1, 8)))
end

local function message_count(counters)
  return counters[5] + counters[6] + counters[7] + counters[8]
end
