// GitHub's own JavaScript clients on the hub: prints as JSON what each call was answered.
import { Octokit } from "@octokit/core";
import { graphql, GraphqlResponseError } from "@octokit/graphql";

const [hub, token, owner] = process.argv.slice(2);
const answers = {};

const ask = graphql.defaults({
  baseUrl: `${hub}/api`,
  headers: { authorization: `token ${token}` },
});
answers.viewer = await ask("{ viewer { login } }");
answers.repository = await ask(
  "query($owner: String!) { repository(owner: $owner, name: \"demo\") { nameWithOwner } }",
  { owner },
);
try {
  await ask("{ repository(owner: \"nobody\", name: \"nothing\") { id } }");
} catch (error) {
  if (!(error instanceof GraphqlResponseError)) throw error;
  answers.missing = { type: error.errors[0].type, message: error.errors[0].message };
}

const octokit = new Octokit({ baseUrl: `${hub}/api/v3`, auth: token });
answers.user = (await octokit.request("GET /user")).data.login;
answers.named = (
  await octokit.request("GET /repos/{owner}/{repo}", { owner, repo: "demo" })
).data.full_name;
// It knows that GitHub Enterprise has GraphQL at /api/graphql, beside /api/v3.
answers.graphql = await octokit.graphql("{ viewer { login } }");
try {
  await octokit.request("GET /repos/{owner}/{repo}", { owner, repo: "nothing" });
} catch (error) {
  answers.status = error.status;
}
try {
  await new Octokit({ baseUrl: `${hub}/api/v3`, auth: "wrong" }).request("GET /user");
} catch (error) {
  answers.refused = [error.status, error.response.data.message];
}
console.log(JSON.stringify(answers));
