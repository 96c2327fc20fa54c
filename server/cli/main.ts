#!/usr/bin/env node
// The command `legate`. What is made while the rest is loaded counts for the size of the heap already.

import { limitYoungGeneration } from './young-generation.ts'

limitYoungGeneration()
await import('./command.ts')
