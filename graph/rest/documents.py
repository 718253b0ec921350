"""The GraphQL documents behind the REST routes. All that REST knows, it asks the contract."""

OWNER = (
    "login id __typename ... on User { databaseId name bio url createdAt updatedAt isSiteAdmin }"
)
REPOSITORY = f"""
fragment shown on Repository {{
  id databaseId name nameWithOwner description url sshUrl isPrivate visibility isFork isArchived
  createdAt updatedAt pushedAt diskUsage forkCount viewerPermission defaultBranchName
  owner {{ {OWNER} }}
}}"""
WITH_PARENT = "... shown parent { ...shown }"

VIEWER = f"query {{ viewer {{ {OWNER} email }} }}"
USER = f"query($login: String!) {{ user(login: $login) {{ {OWNER} }} }}"
GET_REPOSITORY = f"""query($owner: String!, $name: String!) {{
  repository(owner: $owner, name: $name) {{ {WITH_PARENT} }} }}{REPOSITORY}"""
REPOSITORY_ID = """query($owner: String!, $name: String!) {
  repository(owner: $owner, name: $name) { id } }"""
CREATE_REPOSITORY = f"""mutation($input: CreateRepositoryInput!) {{
  createRepository(input: $input) {{ repository {{ {WITH_PARENT} }} }} }}{REPOSITORY}"""
UPDATE_REPOSITORY = f"""mutation($input: UpdateRepositoryInput!) {{
  updateRepository(input: $input) {{ repository {{ {WITH_PARENT} }} }} }}{REPOSITORY}"""
ARCHIVE_REPOSITORY = f"""mutation($input: ArchiveRepositoryInput!) {{
  archiveRepository(input: $input) {{ repository {{ {WITH_PARENT} }} }} }}{REPOSITORY}"""
UNARCHIVE_REPOSITORY = f"""mutation($input: UnarchiveRepositoryInput!) {{
  unarchiveRepository(input: $input) {{ repository {{ {WITH_PARENT} }} }} }}{REPOSITORY}"""
DELETE_REPOSITORY = """mutation($input: DeleteRepositoryInput!) {
  deleteRepository(input: $input) { clientMutationId } }"""
FORK_REPOSITORY = f"""mutation($input: ForkRepositoryInput!) {{
  forkRepository(input: $input) {{ repository {{ {WITH_PARENT} }} }} }}{REPOSITORY}"""
MERGE_UPSTREAM = """mutation($input: MergeUpstreamInput!) {
  mergeUpstream(input: $input) { mergeType baseBranch } }"""
README = """query($owner: String!, $name: String!, $expression: String!) {
  repository(owner: $owner, name: $name) { nameWithOwner url defaultBranchName
    readme(expression: $expression) { name path oid size
      object { ... on Blob { text isTruncated } } } } }"""

KEY = "id databaseId key title createdAt isReadOnly"
LIST_KEYS = f"""query($first: Int!, $after: String) {{
  viewer {{ publicKeys(first: $first, after: $after) {{
    nodes {{ {KEY} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""
GET_KEY = f"query($id: ID!) {{ node(id: $id) {{ ... on PublicKey {{ {KEY} }} }} }}"
CREATE_KEY = f"""mutation($input: CreateSshKeyInput!) {{
  createSshKey(input: $input) {{ publicKey {{ {KEY} }} }} }}"""
DELETE_KEY = """mutation($input: DeleteSshKeyInput!) {
  deleteSshKey(input: $input) { deletedPublicKeyId } }"""
