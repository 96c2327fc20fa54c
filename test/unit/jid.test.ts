// JIDs: what is one, what it becomes when prepared, and that the memory of them is bounded.
import { JID, jid as xmppJid } from '@xmpp/jid'
import { describe, expect, it } from 'vitest'
import {
  bareOf,
  domainOf,
  joinJid,
  localOf,
  prepareDomain,
  prepareJid,
  prepareLocal,
  prepareResource,
  rememberedJids,
  resourceOf,
  toJid,
} from '../../server/jid.ts'

/** The same numbers on every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('addresses', () => {
  const good: [text: string, full: string][] = [
    // RFC 7622 §3.5, table 1
    ['juliet@example.com', 'juliet@example.com'],
    ['juliet@example.com/foo', 'juliet@example.com/foo'],
    ['juliet@example.com/foo bar', 'juliet@example.com/foo bar'],
    ['juliet@example.com/foo@bar', 'juliet@example.com/foo@bar'],
    ['foo\\20bar@example.com', 'foo\\20bar@example.com'],
    ['fussball@example.com', 'fussball@example.com'],
    ['fußball@example.com', 'fußball@example.com'],
    ['π@example.com', 'π@example.com'],
    ['Σ@example.com/foo', 'σ@example.com/foo'],
    ['σ@example.com/foo', 'σ@example.com/foo'],
    ['ς@example.com/foo', 'ς@example.com/foo'],
    ['king@example.com/♚', 'king@example.com/♚'],
    ['example.com', 'example.com'],
    ['example.com/foobar', 'example.com/foobar'],
    ['a.example.com/b@example.net', 'a.example.com/b@example.net'],
    // Table 2 has this as bad, by mistake (erratum 4560): OpaqueString has no rule against spaces
    ['juliet@example.com/ foo', 'juliet@example.com/ foo'],
    // Case
    ['Juliet@Example.COM/Balcony', 'juliet@example.com/Balcony'],
    ['ΑΣ@example.com', 'ασ@example.com'],
    ['ẞ@example.com', 'ß@example.com'],
    ['ı@example.com', 'ı@example.com'],
    ['Ꭰ@example.com', 'ꭰ@example.com'],
    ['ᾀ@example.com', 'ᾀ@example.com'],
    // Width is mapped in localparts and domains only, spaces in resourceparts only
    ['ｊｕｌｉｅｔ@ｅxample.com/ｆｏｏ', 'juliet@example.com/ｆｏｏ'],
    ['e\u0301@example.com/e\u0301', 'é@example.com/é'],
    ['a@example.com/x\u00a0y', 'a@example.com/x y'],
    // Contexts
    ['क\u094d\u200dष@example.com', 'क\u094d\u200dष@example.com'],
    ['paral·lel@example.com/l·l', 'paral·lel@example.com/l·l'],
    // Right to left
    ['אבג@example.com', 'אבג@example.com'],
    ['א1@example.com', 'א1@example.com'],
    ['a@example.com/א1א', 'a@example.com/א1א'],
    ['a@example.com/aא', 'a@example.com/aא'],
    // Domains
    ['example.com.', 'example.com'],
    ['a@example.com./r', 'a@example.com/r'],
    ['a@127.0.0.1', 'a@127.0.0.1'],
    ['a@[::1]/r', 'a@[::1]/r'],
    ['BÜCHER.example', 'bücher.example'],
    // Splitting
    ['a@b/c/d', 'a@b/c/d'],
    ['b/c@d/e', 'b/c@d/e'],
    ['a@b//', 'a@b//'],
    ['!#$%()*+,-.;=?[\\]^_`{|}~@b/"&\'<>:', '!#$%()*+,-.;=?[\\]^_`{|}~@b/"&\'<>:'],
    [`${'a'.repeat(1023)}@b/${'c'.repeat(1023)}`, `${'a'.repeat(1023)}@b/${'c'.repeat(1023)}`],
    [`${'İ'.repeat(341)}@b`, `${'i\u0307'.repeat(341)}@b`],
    [`a@b/${'é'.repeat(511)}`, `a@b/${'é'.repeat(511)}`],
  ]
  it.each(good)('%j is %j', (text, full) => {
    expect(prepareJid(text)?.full).toBe(full)
    // Once more, from memory
    expect(prepareJid(text)?.full).toBe(full)
    expect(prepareJid(full)?.full).toBe(full)
  })

  const bad: [why: string, text: string][] = [
    // RFC 7622 §3.5, table 2
    ['quotes in the local', '"juliet"@example.com'],
    ['a space in the local', 'foo bar@example.com'],
    ['no local and no resource', '@example.com/'],
    ['no domain', 'juliet@'],
    ['no domain before the resource', '/foobar'],
    ['a symbol of a number in the local', 'henryⅣ@example.com'],
    ['a symbol in the local', '♚@example.com'],
    ['nothing', ''],
    ['no local', '@b'],
    ['no resource', 'b/'],
    ['no resource after a local', 'a@b/'],
    ['only signs', '@/'],
    ['two @', 'a@b@c'],
    ['an empty label', 'a..b'],
    ['a leading dot', '.a'],
    ['only a dot', '.'],
    ['two dots at the end', 'a..'],
    ['a hyphen before a label', '-a.b'],
    ['a hyphen after a label', 'a-.b'],
    ['a label of 64 bytes', `${'a'.repeat(64)}.b`],
    ['a local of 1024 bytes', `${'a'.repeat(1024)}@b`],
    ['a local of 1024 bytes in Unicode', `${'é'.repeat(512)}@b`],
    ['a resource of 1024 bytes', `a@b/${'c'.repeat(1024)}`],
    ['a local that shrinks in mapping from over 1023 bytes', `${'Ａ'.repeat(400)}@b`],
    ['a local that grows in mapping to over 1023 bytes', `${'İ'.repeat(342)}@b`],
    ['a resource that grows in mapping to over 1023 bytes', `a@b/${'\u0344'.repeat(300)}`],
    ['a soft hyphen in the local', 'ju\u00adliet@b'],
    ['a zero-width space in the resource', 'b/x\u200b'],
    ['a variation selector in the resource', 'b/\u2764\ufe0f'],
    ['a joiner without its context', 'a\u200db@b'],
    ['a middle dot without its context', 'a·b@b'],
    ['a space in the domain', 'a b'],
    ['a percent sign in the domain', '%61.example'],
    ['a port', 'a@example.com:5222'],
    ['a control character in the resource', 'a@b/\u0007'],
    ['a newline in the resource', 'a@b/x\ny'],
    ['a NUL in the local', 'a\0@b'],
    ['DEL', 'a@b/\u007f'],
    ['C1', 'a@b/\u0085'],
    ['a line separator', 'a@b/\u2028'],
    ['a direction override', 'a@b/x\u202ey'],
    ['private use', 'a@b/\ue000'],
    ['a noncharacter', 'a@b/\ufffe'],
    ['half a surrogate pair in the resource', 'a@b/\ud800'],
    ['half a surrogate pair in the local', 'a\udc00@b'],
    ['half a surrogate pair in the domain', 'a@b\ud800'],
    ['the replacement character in the local', 'a\ufffd@b'],
    ['an unassigned character', 'a\u0378@b'],
    ['a tag', 'a@b/\u{e0041}'],
    ['a full-width @ in the local', 'a＠c@b'],
    ['a full-width / in the local', 'a／c@b'],
    ['a full-width quote in the local', 'a＂c@b'],
    ['both directions', 'אaא@example.com'],
    ['right to left with a hyphen at the end', 'א-@example.com'],
  ]
  it.each(bad)('%s: %j is none', (_why, text) => {
    expect(prepareJid(text)).toBeUndefined()
  })

  it('has its parts', () => {
    expect(prepareJid('Romeo@Montague.lit/Orchard')).toEqual({
      full: 'romeo@montague.lit/Orchard',
      bare: 'romeo@montague.lit',
      local: 'romeo',
      domain: 'montague.lit',
      resource: 'Orchard',
    })
    expect(prepareJid('Montague.lit')).toEqual({
      full: 'montague.lit',
      bare: 'montague.lit',
      local: undefined,
      domain: 'montague.lit',
      resource: undefined,
    })
  })
})

describe('parts of prepared addresses', () => {
  it.each(['a@b/c', 'a@b', 'b/c', 'b', 'b/c@d/e', 'a@b/c@d/e'])('%s', (full) => {
    const jid = prepareJid(full)!
    expect(bareOf(full)).toBe(jid.bare)
    expect(localOf(full)).toBe(jid.local)
    expect(domainOf(full)).toBe(jid.domain)
    expect(resourceOf(full)).toBe(jid.resource)
    expect(joinJid(jid.local, jid.domain, jid.resource)).toBe(full)
  })

  it('are refused when empty', () => {
    expect([prepareLocal(''), prepareDomain(''), prepareResource('')]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
})

describe('random texts', () => {
  const alphabet = [
    ...'aAbZ09.-_@/ "\'\\[]:%\0\n',
    ...'éÉßẞıİſσςΣǅﬁⅣ①％．。／＠１\u00a0\u00ad\u0301\u0345\u0378\u200b\u200d\u202e\u3000\ufdfa\ud800',
    ...'אبא٣ᾀᎠꭰ例えテ',
    'xn--',
    '\u{1d400}',
    '\u{1f600}',
    '\u{e0041}',
    '\u{2f868}',
  ]
  it('never throw, and are the same when prepared twice', () => {
    const random = randomNumbers(7622)
    const prepares = [(text: string) => prepareJid(text)?.full, prepareLocal, prepareDomain, prepareResource]
    let accepted = 0
    for (let i = 0; i < 20_000; i++) {
      let text = ''
      for (let n = Math.floor(random() * 8); n >= 0; n--) {
        text +=
          random() < 0.9
            ? alphabet[Math.floor(random() * alphabet.length)]
            : String.fromCodePoint(Math.floor(random() * 0x110000))
      }
      for (const prepare of prepares) {
        const once = prepare(text)
        if (once === undefined) continue
        accepted++
        const twice = prepare(once)
        if (twice !== once) expect.fail(`${JSON.stringify(text)}: ${JSON.stringify([once, twice])}`)
      }
    }
    expect(accepted).toBeGreaterThan(1000)
  })

  it('every character alone is the same when prepared twice', () => {
    for (let code = 0; code < 0x30000; code++) {
      const text = String.fromCodePoint(code)
      for (const prepare of [prepareLocal, prepareResource]) {
        const once = prepare(text)
        if (once !== undefined && prepare(once) !== once) expect.fail(`U+${code.toString(16)}`)
      }
    }
  })
})

describe('memory', () => {
  it('gives the same object for the same text', () => {
    expect(prepareJid('nurse@capulet.lit/hall')).toBe(prepareJid(`nurse@capulet.${'lit'}/hall`))
  })

  it('is bounded, keeps what is asked for, and does not keep long or malformed texts', () => {
    const kept = prepareJid('kept@example.com/Always')
    for (let i = 0; i < 50_000; i++) {
      prepareJid(`user${i}@example.com/r`)
      if (i % 1000 === 0) expect(prepareJid('kept@example.com/Always')).toBe(kept)
    }
    expect(rememberedJids()).toBeLessThanOrEqual(20_000)
    const before = rememberedJids()
    prepareJid(`a@b/${'c'.repeat(1000)}`)
    prepareJid('@malformed')
    expect(rememberedJids()).toBe(before)
  })
})

describe('as a JID of @xmpp/jid', () => {
  it.each(['a@b/c', 'a@b', 'b', 'b/c@d/e', 'juliet@example.com/foo bar', 'foo\\20bar@example.com'])(
    '%s reads as the library reads it',
    (text) => {
      const ours = toJid(prepareJid(text)!)
      expect(ours).toBeInstanceOf(JID)
      expect(ours.equals(xmppJid(text))).toBe(true)
      expect(ours.toString()).toBe(text)
      expect(ours.bare().toString()).toBe(prepareJid(text)!.bare)
    },
  )

  it('does not escape', () => {
    const ours = toJid(prepareJid('a\\b@example.com/r')!)
    expect(ours.local).toBe('a\\b')
    expect(ours.toString()).toBe('a\\b@example.com/r')
    expect(ours.bare().toString()).toBe('a\\b@example.com')
  })
})
