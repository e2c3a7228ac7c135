-- Counts a message in (sign 1) or out (sign -1).
local function count_message(counters, role, tokens, sign)
  local at = SYSTEM - 1 + string.find(ROLES, role, 1, true)
  counters[at], counters[TOKENS] = counters[at] + sign, counters[TOKENS] + sign * tokens
  if at == SYSTEM then
    counters[SYSTEM_TOKENS] = counters[SYSTEM_TOKENS] + sign * tokens
  end
end
