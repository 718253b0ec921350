"""Names no account and no repository may have: addresses of the hub itself, now and to come."""

# Every first part of a path that a route has or will have, and names that pose as the hub or
# its people.
_LOGINS = """
about abuse access account accounts actions activity admin administrator administrators advisories
anonymous api apps archive archives artifacts assets atom auth authentication avatar avatars
billing blog bot bots branches browse cache changelog ci codespaces collections commits community
compare contact cookies customer dashboard default deploy-keys developer discover discussions docs
documentation download downloads edit email emails enterprise error errors events everyone explore
explorer faq favicon feature features feed feedback files follow followers following
forgot-password forks ghost gist gists git git-receive-pack git-upload-archive git-upload-pack
github graphiql graphql guest health healthz help home hooks host hostmaster humans identity
import inbox info insights integrations internal invitations invite issues jobs join keys
languages latest lfs license limits listings live locks login logout logs mail maintenance manage
manifest marketplace me media members mention mentioned messages metrics milestones mine mirror
mirrors monitoring new news nobody none noreply notifications null oauth oauth2 objects offers
operator organization organizations orgs owner owners packages pages password people personal
plans postmaster preferences pricing privacy profile projects public pull pulls raw readme readyz
redirect register registration releases repo repos repositories repository request reset-password
robots root rss runners saml search secrets security self session sessions settings setup share
shop sign-in sign-out sign-up signin signout signup site sitemap ssh sso staff stafftools starred
stars static status storage store stories subscriptions suggestions support suspended sysadmin
system tags team teams templates terms test-hook timeline token tokens topics tour translations
trending two-factor undefined unknown unsubscribe updates upload uploads user username users
verify version wallet watching webhook webhooks webmaster well-known wiki workflows www
x-access-token x-oauth-basic you your
"""
RESERVED_LOGINS = frozenset(_LOGINS.split())

# A repository's own files and git's service names stand below its path.
RESERVED_REPOSITORY_NAMES = frozenset(
    (
        ".",
        "..",
        "-",
        "info",
        "objects",
        "git-upload-pack",
        "git-receive-pack",
        "git-upload-archive",
        ".well-known",
        ".git",
    )
)
RESERVED_REPOSITORY_SUFFIXES = (".git", ".wiki", ".lock", ".atom", ".rss")
