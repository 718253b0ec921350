// The stock client of graphql-transport-ws: prints each event as a line of JSON, then the error.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const [url, token, id, after] = process.argv.slice(2);
const client = createClient({
  url,
  webSocketImpl: WebSocket,
  connectionParams: token ? { Authorization: `Bearer ${token}` } : {},
  retryAttempts: 0,
});
const query = `subscription($id: ID!, $after: BigInt) {
  repositoryEvents(repositoryId: $id, after: $after) { __typename number } }`;
try {
  for await (const answer of client.iterate({ query, variables: { id, after: after || null } })) {
    console.log(JSON.stringify(answer));
  }
} catch (error) {
  const text = Array.isArray(error) ? error[0].message : `${error.code} ${error.reason}`;
  console.log(JSON.stringify({ error: text }));
}
await client.dispose();
