/** The connection to Redis, for the storage and for the cluster. */

export {
  COMMAND_MS,
  type RedisClient,
  RedisConnection,
  type RedisConnectionOptions,
  type RedisState,
  type StateListener,
} from './connection.ts'
export { describePlace, type RedisOption, type RedisSettings, redisOption, tlsFiles } from './options.ts'
