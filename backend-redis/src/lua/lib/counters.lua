-- A conversation's counters are one string of eleven little-endian doubles: the last number given, the
-- number before which only system messages remain, the tokens of system messages, all tokens, the
-- number of messages of each role, and the lineage: incarnation, revision, the number through which it
-- is summarized. They stay below 2^53, so that doubles are exact.
local LAST, FRONTIER, SYSTEM_TOKENS, TOKENS, SYSTEM = 1, 2, 3, 4, 5
local INCARNATION, REVISION, SUMMARIZED = 9, 10, 11
local ROLES = 'suat'

-- In the set of conversations by activity a score is the time of the newest message held, in ms and
-- negative, so that the newest is first and equal times ascend by name; or this, where none is held.
local NO_MESSAGE = 1

local function read_counters(key)
  local text = redis.call('GET', key)
  return text and {struct.unpack('<ddddddddddd', text)}
end

local function write_counters(key, counters)
  redis.call('SET', key, struct.pack('<ddddddddddd', unpack(counters, 1, 11)))
end

local function message_count(counters)
  return counters[5] + counters[6] + counters[7] + counters[8]
end

-- Counts a removal of all messages behind a number into the lineage.
local function revise(counters, after)
  counters[REVISION] = counters[REVISION] + 1
  counters[SUMMARIZED] = math.min(counters[SUMMARIZED], after)
end
