/** `holdfast completion`: what a shell completes, from the table of verbs. */
import { EXIT, UsageError, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'completion',
  summary: 'print what lets a shell complete verbs and options',
  arguments: 'SHELL',
  argumentHelp: [{ name: 'SHELL', description: 'bash, zsh or fish' }],
  options: [],
  examples: [
    { command: 'completion bash > /etc/bash_completion.d/holdfast', meaning: 'for everybody' },
    { command: 'completion zsh > ~/.zfunc/_holdfast', meaning: 'with ~/.zfunc in fpath' },
    { command: 'completion fish > ~/.config/fish/completions/holdfast.fish', meaning: '' },
  ],
  async run({ args, stdout, verbs }) {
    const write = { bash, zsh, fish }[args[0] ?? ''];
    if (write === undefined) throw new UsageError("which shell? 'holdfast completion bash', zsh or fish");
    stdout.write(write(await verbs()));
    return EXIT.ok;
  },
};

interface Flag {
  /** As in "-c" and "--config". */
  readonly names: readonly string[];
  readonly takesFile: boolean;
  readonly takesValue: boolean;
  readonly description: string;
}

function flagsOf({ options }: Verb): Flag[] {
  return [...options, { flags: '-h, --help', description: 'help' }].map(({ flags, description }) => ({
    names: flags.match(/(?<!\S)--?[a-z][a-z-]*/g) ?? [],
    takesFile: / (FILE|FOLDER)$/.test(flags),
    takesValue: / [A-Z][A-Z_]*$/.test(flags),
    description,
  }));
}

function bash(verbs: readonly Verb[]): string {
  const cases = verbs.map(
    (one) =>
      `    ${one.name}) options="${flagsOf(one)
        .flatMap(({ names }) => names)
        .join(' ')}" ;;`,
  );
  return `# bash completion of holdfast
_holdfast() {
  local word="\${COMP_WORDS[COMP_CWORD]}" options=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(' ')} help" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -o filenames -F _holdfast holdfast
`;
}

function zsh(verbs: readonly Verb[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''").replace(/[[\]:]/g, '\\$&');
  const cases = verbs.map((one) => {
    const specs = flagsOf(one).map(({ names, description, takesFile, takesValue }) => {
      const value = takesFile ? ':file:_files' : takesValue ? ':value:' : '';
      const all = names.length > 1 ? `'(${names.join(' ')})'{${names.join(',')}}'` : `'${names[0] ?? ''}`;
      return `${all}[${quoted(description)}]${value}'`;
    });
    return `    ${one.name}) _arguments ${[...specs, "'*:file:_files'"].join(' ')} ;;`;
  });
  return `#compdef holdfast
_holdfast() {
  local -a verbs
  verbs=(${verbs.map(({ name, summary }) => `'${name}:${quoted(summary)}'`).join(' ')})
  if (( CURRENT == 2 )); then
    _describe 'verb' verbs
    return
  fi
  local verb="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$verb" in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = "_holdfast" ]; then _holdfast "$@"; else compdef _holdfast holdfast; fi
`;
}

function fish(verbs: readonly Verb[]): string {
  const quoted = (text: string): string => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const lines = verbs.flatMap((one) => [
    `complete -c holdfast -n __fish_use_subcommand -f -a ${one.name} -d ${quoted(one.summary)}`,
    ...flagsOf(one).map(({ names, description, takesFile, takesValue }) => {
      const flags = names.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      const value = takesFile ? ' -r -F' : takesValue ? ' -x' : '';
      const when = `-n '__fish_seen_subcommand_from ${one.name}'`;
      return `complete -c holdfast ${when} ${flags.join(' ')}${value} -d ${quoted(description)}`;
    }),
  ]);
  return `# fish completion of holdfast\n${lines.join('\n')}\n`;
}
