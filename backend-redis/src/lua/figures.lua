-- A conversation's figures are one string: the byte 2, then eight doubles, low end first: the last
-- number given, the number before which only system messages remain, the tokens of system messages,
-- all tokens, and how many messages of each role. They stay below 2^53, so that doubles are exact.
-- Schema 1 wrote them as words; those are read, and written anew by the next change.
local LAST, FRONTIER, SYSTEM_TOKENS, TOKENS, SYSTEM = 1, 2, 3, 4, 5
local ROLES = 'suat'

local function read_figures(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  if string.byte(text) == 2 then
    return {struct.unpack('<dddddddd', text, 2)}
  end
  local figures = {}
  for number in string.gmatch(text, '%d+') do
    figures[#figures + 1] = tonumber(number)
  end
  return figures
end

local function write_figures(key, figures)
  redis.call('SET', key, struct.pack('<Bdddddddd', 2, unpack(figures, 1, 8)))
end

local function message_count(figures)
  return figures[5] + figures[6] + figures[7] + figures[8]
end
