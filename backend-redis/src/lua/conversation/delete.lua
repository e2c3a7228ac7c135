-- Removes a conversation and says whether there was one (1 or 0).
-- KEYS: conversations, activity, counters, messages, ids, gone. ARGV: conversation.
-- Cost: O(log conversations); the server frees the messages in the background.
local there = redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[5], KEYS[6])
return there
