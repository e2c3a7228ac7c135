-- A conversation's figures are one string of numbers: the last number given, the number before
-- which only system messages remain, the tokens of system messages, all tokens, and how many
-- messages of each role. They stay below 2^53, so that Lua keeps them exactly.
local LAST, FRONTIER, SYSTEM_TOKENS, TOKENS, SYSTEM = 1, 2, 3, 4, 5
local ROLES = {s = SYSTEM, u = 6, a = 7, t = 8}

local function read_figures(key)
  local text = redis.call('GET', key)
  if not text then
    return nil
  end
  local a, b, c, d, e, f, g, h =
    string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  return {tonumber(a), tonumber(b), tonumber(c), tonumber(d),
          tonumber(e), tonumber(f), tonumber(g), tonumber(h)}
end

local function write_figures(key, figures)
  redis.call('SET', key,
             string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', unpack(figures)))
end

local function message_count(figures)
  return figures[5] + figures[6] + figures[7] + figures[8]
end

-- Counts a message in (sign 1) or out (sign -1).
local function count_message(figures, role, tokens, sign)
  figures[ROLES[role]] = figures[ROLES[role]] + sign
  figures[TOKENS] = figures[TOKENS] + sign * tokens
  if role == 's' then
    figures[SYSTEM_TOKENS] = figures[SYSTEM_TOKENS] + sign * tokens
  end
end
