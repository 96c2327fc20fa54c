/** The listeners of a connection's sockets: the same functions for all of them, so that a session costs none. */

import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { makeSharedReading } from './shared-buffer.ts'

/** What is told of a socket. */
export interface SocketOwner {
  /** @param chunk - valid until it returns */
  received(socket: Socket, chunk: Buffer): void
  inputEnded(socket: Socket): void
  handshakeDone(): void
  socketClosed(socket: Socket): void
  /** @param reason - what has broken it */
  finish(reason: string): void
  destroy(reason: string): void
}

const readInto = makeSharedReading(onData)

const OWNER = Symbol('owner')
interface Owned extends Socket {
  [OWNER]: SocketOwner
}

/**
 * Tells an owner of all that happens to a socket. It is told as well of one that TLS was put over meanwhile: taking
 * listeners off would make the socket's table of them a slow and large one.
 */
export function listenTo(socket: Socket, owner: SocketOwner): void {
  ;(socket as Owned)[OWNER] = owner
  readInto(socket)
  socket.on('end', onEnd).on('error', onError).on('close', onClose)
}

/** The same for a socket with TLS, whose handshake is about to begin. */
export function listenToTls(socket: TLSSocket, owner: SocketOwner): void {
  listenTo(socket, owner)
  // A TLSSocket that tls.Server has not made tells of a broken record, or of a handshake that is refused, by
  // this event only, and stays open.
  socket.on('_tlsError', onTlsError).on('secure', onSecure)
}

/** Of a socket that is closed: Node keeps it for a while, and it should not keep more. */
const NOBODY: SocketOwner = {
  received() {},
  inputEnded() {},
  handshakeDone() {},
  socketClosed() {},
  finish() {},
  destroy() {},
}

/** Lets go of the owner; nothing more is told. */
export function disown(socket: Socket): void {
  ;(socket as Owned)[OWNER] = NOBODY
}

function ownerOf(socket: Socket): SocketOwner {
  return (socket as Owned)[OWNER]
}

function onData(this: Socket, chunk: Buffer): void {
  ownerOf(this).received(this, chunk)
}

function onEnd(this: Socket): void {
  ownerOf(this).inputEnded(this)
}

function onError(this: Socket, error: Error): void {
  ownerOf(this).finish(error.message)
}

function onClose(this: Socket): void {
  ownerOf(this).socketClosed(this)
}

function onTlsError(this: Socket, error: Error): void {
  ownerOf(this).destroy(error.message)
}

function onSecure(this: Socket): void {
  ownerOf(this).handshakeDone()
}
