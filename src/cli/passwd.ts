/** `holdfast passwd`: the users file. Passwords come from a terminal, a file or stdin, never from the command line. */
import { existsSync, readFileSync } from 'node:fs';
import { isUserName, parseUsers, PASSWORD_SHORT, replaceUser } from '../broker/usersfile.js';
import { userLine } from '../broker/users.js';
import { askHidden } from './ask.js';
import { passwordIn } from './inputfile.js';
import { EXIT, textOption, UsageError, type Context, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'passwd',
  summary: 'add, change, delete or list the users of a users file',
  arguments: '[USER]',
  argumentHelp: [{ name: 'USER', description: 'the user to add or change; none with --list' }],
  options: [
    { flags: '-f, --file FILE', description: 'the users file', default: 'users.passwd' },
    { flags: '-p, --password-file FILE', description: 'read the password from there; - is stdin' },
    { flags: '-g, --groups NAMES', description: 'groups for access rules, separated by commas' },
    { flags: '--delete', description: 'delete the user' },
    { flags: '--list', description: 'print the users and their groups' },
  ],
  examples: [
    { command: 'passwd operator', meaning: 'asks for the password twice' },
    { command: 'passwd -p - scada < secret', meaning: 'reads it from stdin' },
    { command: 'passwd --list', meaning: 'who is there' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { args, options, stdout, stderr } = context;
  const file = textOption(options, 'file') ?? 'users.passwd';
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  // Nothing is written to a file that the broker would refuse.
  const users = parseUsers(text, file);
  if (options['list'] === true) {
    if (!existsSync(file)) throw new UsageError(`there is no ${file}; name the users file with --file`);
    for (const [name, { groups }] of users)
      stdout.write(`${[name, groups.join(',')].join('\t').trimEnd()}\n`);
    return EXIT.ok;
  }
  const [user] = args;
  if (user === undefined) throw new UsageError("which user? 'holdfast passwd operator'");
  if (!isUserName(user))
    throw new UsageError('a user name has no colon, no control characters, and no # in front');
  if (options['delete'] === true) {
    if (!users.has(user))
      throw new UsageError(`${file} has no user ${user}; 'holdfast passwd --list' shows who is there`);
    replaceUser(file, text, user, null);
    stderr.write(`deleted ${user} from ${file}; SIGHUP tells a running gateway\n`);
    return EXIT.ok;
  }
  const password = await passwordFor(user, context);
  if (password.length < PASSWORD_SHORT)
    stderr.write(`warning: a password of less than ${PASSWORD_SHORT} characters is soon guessed\n`);
  const given = textOption(options, 'groups');
  const groups =
    given === undefined ? (users.get(user)?.groups ?? []) : given.split(',').filter((name) => name !== '');
  if (groups.some((group) => group.includes(':'))) throw new UsageError('a group name has no colon');
  replaceUser(file, text, user, await userLine(user, password, groups));
  stderr.write(
    `${users.has(user) ? 'changed' : 'added'} ${user} in ${file}; SIGHUP tells a running gateway\n`,
  );
  return EXIT.ok;
}

async function passwordFor(user: string, context: Context): Promise<string> {
  const source = textOption(context.options, 'passwordFile');
  if (source !== undefined) {
    const password = await passwordIn(source, context);
    if (password === '') throw new UsageError('the password is empty');
    return password;
  }
  if (!context.canAsk)
    throw new UsageError('nobody can be asked here; give --password-file FILE, or - for stdin');
  const first = await askHidden(`password for ${user}: `, context);
  if (first === '') throw new UsageError('the password is empty; nothing was changed');
  if ((await askHidden('again: ', context)) !== first)
    throw new UsageError('the two differ; nothing was changed');
  return first;
}
