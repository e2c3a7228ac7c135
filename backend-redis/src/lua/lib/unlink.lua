-- Runs a command on the keys that a sorted set names, each behind all of `starts`. EXISTS on all that
-- is to be unlinked comes first: where a key has moved to another node of a cluster, it fails as
-- UNLINK would, and before anything is gone.
local function on_all(command, set, ...)
  local starts, at = {...}, 0
  while true do
    local members = redis.call('ZRANGE', set, at, at + 999)
    if #members == 0 then
      return
    end
    at = at + #members
    local names = {}
    for _, member in ipairs(members) do
      for _, start in ipairs(starts) do
        names[#names + 1] = start .. member
      end
    end
    redis.call(command, unpack(names))
  end
end
