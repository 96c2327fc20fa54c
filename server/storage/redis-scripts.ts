/** What Redis runs: all changes of one user at once, or none (Lua, server-side). */

/**
 * Writes, if what the caller has read is still so.
 *
 *     KEYS  the user's hash, then for each changed store its index, then for each changed map its hash, then for each
 *           changed archive its entries, its ids, and its ids by partner
 *     ARGV  1 if the user is listed, the user's name, the number of archives,
 *           the number of checks, for each: field, 1 and the text that was read, or 0 and nothing
 *           the number of keyval changes, for each: field, 1 and the text, or 0 and nothing
 *           the number of maps, for each: field, number of changes, for each: key, 1 and the text, or 0 and nothing
 *           for each archive: field, number of new entries, for each: id, id by partner, text,
 *           number of those that go, for each: id, id by partner
 *
 * Answers nil when it has written, else the texts of the checked fields as they are now.
 */
export const WRITE = `
local user = KEYS[1]
local listed, name = ARGV[1] == '1', ARGV[2]
local archives = tonumber(ARGV[3])
local at = 4
local function take() at = at + 1; return ARGV[at - 1] end

local checks, same = {}, true
for i = 1, tonumber(take()) do
  local field, present, text = take(), take() == '1', take()
  local now = redis.call('HGET', user, field)
  checks[i] = now
  if present then same = same and now == text else same = same and not now end
end
if not same then return checks end

local index = 1
local function list(there)
  index = index + 1
  if listed then redis.call(there and 'SADD' or 'SREM', KEYS[index], name) end
end

local keyvals = tonumber(take())
for _ = 1, keyvals do
  local field, present, text = take(), take() == '1', take()
  if present then
    if redis.call('HSET', user, field, text) == 1 then list(true) else index = index + 1 end
  else
    if redis.call('HDEL', user, field) == 1 then list(false) else index = index + 1 end
  end
end

local maps = tonumber(take())
for m = 1, maps do
  local field = take()
  local map = KEYS[#KEYS - 3 * archives - maps + m]
  for _ = 1, tonumber(take()) do
    local key, present, text = take(), take() == '1', take()
    if present then redis.call('HSET', map, key, text) else redis.call('HDEL', map, key) end
  end
  if redis.call('EXISTS', map) == 1 then
    if redis.call('HSET', user, field, '') == 1 then list(true) else index = index + 1 end
  else
    if redis.call('HDEL', user, field) == 1 then list(false) else index = index + 1 end
  end
end

for a = 1, archives do
  local field = take()
  local first = #KEYS - 3 * (archives - a + 1)
  local entries, ids, partners = KEYS[first + 1], KEYS[first + 2], KEYS[first + 3]
  for _ = 1, tonumber(take()) do
    local id, partner, text = take(), take(), take()
    redis.call('HSET', entries, id, text)
    redis.call('ZADD', ids, 0, id)
    redis.call('ZADD', partners, 0, partner)
  end
  for _ = 1, tonumber(take()) do
    local id, partner = take(), take()
    redis.call('HDEL', entries, id)
    redis.call('ZREM', ids, id)
    redis.call('ZREM', partners, partner)
  end
  if redis.call('EXISTS', entries) == 1 then
    if redis.call('HSET', user, field, '') == 1 then list(true) else index = index + 1 end
  else
    if redis.call('HDEL', user, field) == 1 then list(false) else index = index + 1 end
  end
end
return nil
`

/**
 * Removes a user from all stores, if they are still those that the caller has read.
 *
 *     KEYS  the user's hash, for each store its index, for each map its hash, for each archive its three keys
 *     ARGV  the user's name, then the field of each store
 *
 * Answers nil when it has removed, else the fields as they are now.
 */
export const PURGE = `
local user = KEYS[1]
local count = #ARGV - 1
local same = redis.call('HLEN', user) == count
for i = 1, count do same = same and redis.call('HEXISTS', user, ARGV[1 + i]) == 1 end
if not same then return redis.call('HKEYS', user) end
for i = 1, count do redis.call('SREM', KEYS[1 + i], ARGV[1]) end
redis.call('UNLINK', user)
for i = 2 + count, #KEYS do redis.call('UNLINK', KEYS[i]) end
return nil
`
