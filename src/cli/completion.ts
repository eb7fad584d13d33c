/** `holdfast completion`: what a shell completes: verbs and options from their table, names from the gateway file. */
import { flagNames, namesFor, takesNames, takesValue } from './completionnames.js';
import { EXIT, UsageError, type Verb } from './verb.js';

export const verb: Verb = {
  name: 'completion',
  summary: 'print what lets a shell complete verbs, options and names',
  arguments: 'SHELL [WORD...]',
  argumentHelp: [
    { name: 'SHELL', description: 'bash, zsh or fish; or names, which those scripts ask' },
    { name: 'WORD', description: 'of names: the command line so far, after --' },
  ],
  options: [],
  examples: [
    { command: 'completion bash > /etc/bash_completion.d/holdfast', meaning: 'for everybody' },
    { command: 'completion zsh > ~/.zfunc/_holdfast', meaning: 'with ~/.zfunc in fpath' },
    { command: 'completion fish > ~/.config/fish/completions/holdfast.fish', meaning: '' },
  ],
  async run({ args, stdout, env, verbs }) {
    const [shell, ...words] = args;
    if (shell === 'names') {
      for (const name of await namesFor(words, await verbs(), env)) stdout.write(`${name}\n`);
      return EXIT.ok;
    }
    const write = { bash, zsh, fish }[shell ?? ''];
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
    names: flagNames(flags),
    takesFile: / (FILE|FOLDER)$/.test(flags),
    takesValue: takesValue(flags),
    description,
  }));
}

function bash(verbs: readonly Verb[]): string {
  const words = (flags: readonly Flag[]): string => flags.flatMap(({ names }) => names).join(' ');
  const cases = verbs.map((one) => {
    const flags = flagsOf(one);
    const values = words(flags.filter((flag) => flag.takesValue));
    return `    ${one.name}) options="${words(flags)}" values="${values}" named=${takesNames(one) ? '1' : ''} ;;`;
  });
  return `# bash completion of holdfast
_holdfast() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" options="" values="" named="" names=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${verbs.map(({ name }) => name).join(' ')} help" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$options" -- "$word")); return ;;
  esac
  if [ -n "$named" ] && [[ " $values " != *" $before "* ]]; then
    names=$("\${COMP_WORDS[0]}" completion names -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  fi
  if [ -n "$names" ]; then COMPREPLY=($(compgen -W "$names" -- "$word"))
  else COMPREPLY=($(compgen -f -- "$word")); fi
}
complete -o filenames -F _holdfast holdfast
`;
}

function zsh(verbs: readonly Verb[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''").replace(/[[\]:]/g, '\\$&');
  const cases = verbs.map((one) => {
    const specs = flagsOf(one).map(({ names, description, takesFile, takesValue: hasValue }) => {
      const value = takesFile ? ':file:_files' : hasValue ? ':value:' : '';
      const all = names.length > 1 ? `'(${names.join(' ')})'{${names.join(',')}}'` : `'${names[0] ?? ''}`;
      return `${all}[${quoted(description)}]${value}'`;
    });
    const rest = takesNames(one) ? "'*:name:_holdfast_names'" : "'*:file:_files'";
    return `    ${one.name}) _arguments ${[...specs, rest].join(' ')} ;;`;
  });
  return `#compdef holdfast
_holdfast_names() {
  local -a names
  names=(\${(f)"$("$program" completion names -- "\${(@)words[1,CURRENT]}" 2>/dev/null)"})
  if (( $#names )); then compadd -- $names; else _files; fi
}
_holdfast() {
  local -a verbs
  verbs=(${verbs.map(({ name, summary }) => `'${name}:${quoted(summary)}'`).join(' ')})
  if (( CURRENT == 2 )); then
    _describe 'verb' verbs
    return
  fi
  local program="\${words[1]}" verb="\${words[2]}"
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
  const names =
    "'(set -l words (commandline -opc) (commandline -ct); $words[1] completion names -- $words[2..-1] 2>/dev/null)'";
  const lines = verbs.flatMap((one) => {
    const when = `-n '__fish_seen_subcommand_from ${one.name}'`;
    return [
      `complete -c holdfast -n __fish_use_subcommand -f -a ${one.name} -d ${quoted(one.summary)}`,
      ...(takesNames(one) ? [`complete -c holdfast ${when} -a ${names}`] : []),
      ...flagsOf(one).map(({ names: all, description, takesFile, takesValue: hasValue }) => {
        const flags = all.map((name) =>
          name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
        );
        const value = takesFile ? ' -r -F' : hasValue ? ' -x' : '';
        return `complete -c holdfast ${when} ${flags.join(' ')}${value} -d ${quoted(description)}`;
      }),
    ];
  });
  return `# fish completion of holdfast\n${lines.join('\n')}\n`;
}
