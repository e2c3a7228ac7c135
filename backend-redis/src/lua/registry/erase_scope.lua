-- Removes everything of a scope and says how many messages and live entries that were.
-- KEYS: versions, working, expiries, conversations, activity.
-- ARGV: what the names of entries start with, and of counters, messages, ids and gone.
-- Cost: O(entries + conversations); the server frees them in the background.
local expired = redis.call('ZCOUNT', KEYS[3], '-inf', digits(now_ms()))
local entries = redis.call('ZCARD', KEYS[2]) - expired
local messages, at = 0, 0
while true do
  local names = redis.call('ZRANGE', KEYS[4], at, at + 999)
  if #names == 0 then
    break
  end
  at = at + #names
  for _, name in ipairs(names) do
    messages = messages + redis.call('XLEN', ARGV[3] .. name)
  end
end
for _, command in ipairs({'EXISTS', 'UNLINK'}) do
  on_all(command, KEYS[2], ARGV[1])
  on_all(command, KEYS[4], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return {messages, entries}
