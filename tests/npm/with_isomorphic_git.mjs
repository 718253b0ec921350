// Does one thing with isomorphic-git, in a process of its own: JSON in, JSON out. See
// tests/e2e/clients/clients.py.

import fs from "node:fs";

import git from "isomorphic-git";
import http from "isomorphic-git/http/node";

const request = JSON.parse(fs.readFileSync(0, "utf8"));
const { url, path: dir, depth, login, token } = request;
const remote = {
  fs,
  http,
  dir,
  depth: depth ?? undefined,
  onAuth: () => ({ username: login, password: token }),
};

async function push() {
  for (const refspec of request.refspecs) {
    const force = refspec.startsWith("+");
    const [ref, remoteRef] = (force ? refspec.slice(1) : refspec).split(":");
    const isDeletion = ref === "";
    await git.push({
      ...remote,
      url,
      remote: undefined,
      // It wants a ref of ours even where it sends none.
      ref: isDeletion ? "HEAD" : ref,
      remoteRef,
      force,
      delete: isDeletion,
    });
  }
}

const actions = {
  clone: () => git.clone({ ...remote, url, singleBranch: false }),
  fetch: () => git.fetch({ ...remote, remote: "origin", tags: true, singleBranch: false }),
  push,
};

let error = null;
try {
  await actions[request.action]();
} catch (failure) {
  error = `${failure.name}: ${failure.message}`;
}
process.stdout.write(JSON.stringify({ error }));
