/** Two gateways on one plant, of which one works at a time. */
import * as z from 'zod/mini';
import { about, duration, slugText, text } from './words.js';

export const redundancySchema = z.strictObject({
  group: slugText('a name of a group').check(about('Gateways with the same group take turns.')),
  member: z.optional(
    slugText('a name').check(about('Name of this gateway among them; the host name unless given.')),
  ),
  servers: z
    .array(text('a URL'))
    .check(z.minLength(1), about('NATS servers with JetStream that keep the lease: nats://host:4222.')),
  user: z.optional(text().check(about('User name there.'))),
  password: z.optional(
    text().check(about('Password; write `${NAME}` or `!file path`, never the password itself.')),
  ),
  ttl: z.optional(
    duration().check(
      about(
        'The lease expires so long after its last renewal; the same in every gateway of the group.',
        '6s',
      ),
    ),
  ),
});

export type RedundancyInput = z.output<typeof redundancySchema>;
