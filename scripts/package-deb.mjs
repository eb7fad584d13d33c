/** `npm run package:deb`: build/holdfast_VERSION_all.deb, which holds the bundle, its service and a first config. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { bundle, bundleFolder } from './bundle.mjs';
import { asked } from './options.mjs';
import { fail, install, requireNode, root } from './prepare.mjs';

const MODE = { file: 0o644, program: 0o755 };

export async function packageDeb() {
  await bundle();
  const { version, description, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const tree = join(root, 'build/deb');
  rmSync(tree, { recursive: true, force: true });
  const put = (from, to, mode) => {
    mkdirSync(dirname(join(tree, to)), { recursive: true });
    cpSync(join(root, from), join(tree, to));
    chmodSync(join(tree, to), mode);
  };
  mkdirSync(join(tree, 'usr/lib'), { recursive: true });
  cpSync(bundleFolder, join(tree, 'usr/lib/holdfast'), { recursive: true });
  put('packaging/holdfast.sh', 'usr/bin/holdfast', MODE.program);
  put('packaging/holdfast.service', 'lib/systemd/system/holdfast.service', MODE.file);
  put('packaging/holdfast.yaml', 'etc/holdfast/holdfast.yaml', MODE.file);
  put('docs/holdfast.1', 'usr/share/man/man1/holdfast.1', MODE.file);
  putCompletions(tree);
  put('LICENSE', 'usr/share/doc/holdfast/copyright', MODE.file);
  for (const script of ['postinst', 'prerm', 'postrm'])
    put(`packaging/debian/${script}`, `DEBIAN/${script}`, MODE.program);
  writeFileSync(join(tree, 'DEBIAN/conffiles'), '/etc/holdfast/holdfast.yaml\n');
  writeFileSync(
    join(tree, 'DEBIAN/control'),
    `Package: holdfast
Version: ${version}
Architecture: all
Maintainer: holdfast maintainers <maintainers@holdfast.invalid>
Depends: nodejs (>= 20.19), adduser, init-system-helpers (>= 1.54), systemd
Section: net
Priority: optional
Description: ${description}
 Reads and writes the registers of Modbus devices as MQTT topics, and is the
 MQTT broker that those topics live on. Licensed under ${license}.
`,
  );
  const file = join(root, `build/holdfast_${version}_all.deb`);
  const { status, stderr } = spawnSync('dpkg-deb', ['--root-owner-group', '--build', tree, file], {
    encoding: 'utf8',
  });
  if (status !== 0) fail(`dpkg-deb could not build ${file}: ${stderr ?? 'it is not installed'}`);
  return file;
}

/** Where each shell looks for what the program itself writes. */
function putCompletions(tree) {
  const places = {
    bash: 'usr/share/bash-completion/completions/holdfast',
    zsh: 'usr/share/zsh/vendor-completions/_holdfast',
    fish: 'usr/share/fish/vendor_completions.d/holdfast.fish',
  };
  for (const [shell, place] of Object.entries(places)) {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(bundleFolder, 'holdfast.js'), 'completion', shell],
      { encoding: 'utf8' },
    );
    if (status !== 0) fail(`no completion for ${shell}: ${stderr}`);
    mkdirSync(dirname(join(tree, place)), { recursive: true });
    writeFileSync(join(tree, place), stdout);
  }
}

if (process.argv[1] === import.meta.filename) {
  asked('npm run package:deb');
  requireNode();
  install();
  process.stdout.write(`${await packageDeb()}\n`);
}
