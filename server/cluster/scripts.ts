/** What Redis does for the cluster in one step each: scripts in Lua. */

import { createHash } from 'node:crypto'

export interface Script {
  readonly text: string
  readonly sha: string
}

function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}

/**
 * Everything in the streams has an id of one clock, so that who reads several of them can put them in order. It
 * follows the time, and never goes back: also not when another Redis with another clock takes over.
 */
const TICK = `
local function tick()
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local last = tonumber(redis.call('GET', KEYS[5]) or 0)
  if now <= last then now = last + 1 end
  return now
end
local function text(number) return string.format('%.0f', number) end
`

/**
 * A member shows that it lives, says how far it has read, and sends what it has to send.
 *
 * KEYS: members, beats, batches, changes, clock, latest, gone and state and inbox of the member, inboxes of others.
 * ARGV: its id; the id up to which its inbox can be cut (or nothing); whether it wants to see all members (`1`); how
 * many microseconds changes are kept; and operations. A message: `m`, number of the key, id of the member, receipt,
 * batch. Changes: `c`, number, kind, how many are set, how many are not, keys and values.
 */
export const FLUSH = script(`${TICK}
local members, beats, batches, changes, clock, latest, gone, state, inbox = unpack(KEYS)
local self = ARGV[1]
if redis.call('HEXISTS', members, self) == 0 then
  return { redis.call('EXISTS', gone) == 1 and 'expelled' or 'unknown' }
end
local beat = redis.call('HINCRBY', beats, self, 1)
local batch = tonumber(string.match(redis.call('HGET', batches, self) or '0', '^%d+'))
if ARGV[2] ~= '' then redis.call('XTRIM', inbox, 'MINID', ARGV[2]) end
local status, unknown = 'ok', {}
local i, now, changed = 5, nil, false
local last = redis.call('GET', latest) or '0'
while ARGV[i] do
  now = now and now + 1 or tick()
  if ARGV[i] == 'm' then
    local target = ARGV[i + 2]
    if redis.call('HEXISTS', members, target) == 1 then
      redis.call('XADD', KEYS[tonumber(ARGV[i + 1])], text(now) .. '-0',
        'f', self, 'r', ARGV[i + 3], 'm', ARGV[i + 4], 'c', last)
    else
      unknown[#unknown + 1] = target
    end
    i = i + 5
  else
    local seq, kind = tonumber(ARGV[i + 1]), ARGV[i + 2]
    local sets, unsets = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
    local first, final = i + 5, i + 4 + 2 * (sets + unsets)
    if seq > batch then
      local begins = kind == 'a' or kind == 'b'
      if begins then
        redis.call('UNLINK', state)
      elseif seq ~= batch + 1 then
        status = 'behind'
        break
      end
      if sets > 0 then redis.call('HSET', state, unpack(ARGV, first, first + 2 * sets - 1)) end
      for k = first + 2 * sets, final, 2 do redis.call('HDEL', state, ARGV[k]) end
      redis.call('XADD', changes, text(now) .. '-0',
        'i', self, 't', 'c', 's', ARGV[i + 1], 'k', kind, 'n', ARGV[i + 3], unpack(ARGV, first, final))
      local incomplete = (kind == 'b' or kind == 'm') and ' o' or ''
      redis.call('HSET', batches, self, ARGV[i + 1] .. ' ' .. text(now) .. incomplete)
      batch = seq
      last = text(now)
      changed = true
    end
    i = final + 1
  end
end
if now then redis.call('SET', clock, text(now)) end
if changed then
  redis.call('SET', latest, last)
  redis.call('XTRIM', changes, 'MINID', '~', text(now - tonumber(ARGV[4])))
end
local reply = { status, now and text(now) or redis.call('GET', clock) or '0', beat, batch, unknown }
if ARGV[3] == '1' then
  reply[6] = redis.call('HGETALL', beats)
  reply[7] = redis.call('HGETALL', batches)
end
return reply
`)

/**
 * A process becomes a member, or again a member after Redis has lost that.
 *
 * KEYS: members, beats, batches, changes, clock, latest, gone. ARGV: its id; what it tells of itself; `o` if it is going to
 * tell everything that it holds.
 */
export const JOIN = script(`${TICK}
local members, beats, batches, changes, clock, latest, gone = unpack(KEYS)
if redis.call('EXISTS', gone) == 1 then return 'expelled' end
if redis.call('HEXISTS', members, ARGV[1]) == 1 then return 'ok' end
local now = tick()
redis.call('SET', clock, text(now))
redis.call('SET', latest, text(now))
redis.call('HSET', members, ARGV[1], ARGV[2])
redis.call('HSET', beats, ARGV[1], 0)
redis.call('HSET', batches, ARGV[1], '0 ' .. text(now) .. (ARGV[3] == 'o' and ' o' or ''))
redis.call('XADD', changes, text(now) .. '-0', 'i', ARGV[1], 't', 'j', 'm', ARGV[2])
return 'ok'
`)

/**
 * A member is gone: it leaves, or it is dead. Whoever is first does it.
 *
 * KEYS: members, beats, batches, changes, clock, latest, gone and state and inbox of the member. ARGV: its id; the beat at
 * which it was seen to stand still, nothing if it was not there, `*` for any; `1` if it leaves in order; for how
 * many seconds is kept that it is gone.
 */
export const REMOVE = script(`${TICK}
local members, beats, batches, changes, clock, latest, gone, state, inbox = unpack(KEYS)
local beat = redis.call('HGET', beats, ARGV[1]) or ''
if ARGV[2] ~= '*' and ARGV[2] ~= beat then return 0 end
if redis.call('EXISTS', gone) == 1 and redis.call('HEXISTS', members, ARGV[1]) == 0 then return 0 end
local now = tick()
redis.call('SET', clock, text(now))
redis.call('SET', latest, text(now))
redis.call('HDEL', members, ARGV[1])
redis.call('HDEL', beats, ARGV[1])
redis.call('HDEL', batches, ARGV[1])
redis.call('UNLINK', state, inbox)
redis.call('SET', gone, ARGV[3], 'EX', ARGV[4])
redis.call('XADD', changes, text(now) .. '-0', 'i', ARGV[1], 't', 'l', 'o', ARGV[3])
return 1
`)

/**
 * Who is there, at which moment. KEYS: members, batches, clock, and what says whether some members are gone.
 */
export const ROSTER = script(`
local gone = {}
for i = 4, #KEYS do gone[i - 3] = redis.call('GET', KEYS[i]) end
return {
  redis.call('GET', KEYS[3]) or '0',
  redis.call('HGETALL', KEYS[1]),
  redis.call('HGETALL', KEYS[2]),
  gone,
}
`)
