-- When the entry expires, and how it begins; nothing where there is none or it has expired.
local function head(entry, now)
  local text = redis.call('GETRANGE', entry, '0', '63')
  local expires = string.sub(text, 1, 15)
  if text ~= '' and (expires == NEVER or tonumber(expires) > now) then
    return expires, text
  end
end

-- The version of an entry, given how it begins.
local function version_of(text)
  return string.sub(text, 17, 32)
end

-- When an entry was first put, given how it begins.
local function created_of(text)
  return string.match(text, '^%d+', 34)
end

-- The next version; nothing where the scope is not registered, and so has no counter. The counter
-- starts at the server's microseconds when the scope is registered, so that it is past 1, and stays
-- below 2^53, also where an entry was restored at a version up to 2^52.
local function next_version(versions)
  local version = redis.call('INCR', versions)
  if version == 1 then
    redis.call('DEL', versions)
    return nil
  end
  return string.format('%016.0f', version)
end

-- Computes when an entry expires that lives for a number of milliseconds from now.
local function expiry(now, ttl)
  if ttl == '' then
    return NEVER
  end
  return string.format('%015.0f', math.min(now + tonumber(ttl), LATEST))
end

-- The server keeps a key through the millisecond of its expiry; the contract does not.
local function last_moment(expires)
  return digits(tonumber(expires) - 1)
end
