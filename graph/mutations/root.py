"""The mutation root."""

import strawberry

from graph.mutations import (
    access_tokens,
    accounts,
    collaborators,
    commits,
    email_addresses,
    keys,
    refs,
    repositories,
    sessions,
    stars,
)
from graph.view import mutation

_RECENT_PROOF = "A session must have proven its password within 15 minutes (`confirmPassword`)."
_WRITE = "Takes the WRITE permission on the repository, and the scope `public_repo`"
_ADMIN = "Takes the ADMIN permission on the repository"
_SELF_OR_ADMINISTRATOR = (
    "For the user, with the scope `user`, and for administrators of the server."
)


@strawberry.type(description="The root query for implementing GraphQL mutations.")
class Mutation:
    add_collaborator: collaborators.AddCollaboratorPayload | None = mutation(
        collaborators.add_collaborator,
        description="Share a repository with a person, or change what that person may do; a "
        f"repository can have 1000 collaborators. {_ADMIN}, and the scope `repo`.",
    )
    add_email_address: email_addresses.AddEmailAddressPayload | None = mutation(
        email_addresses.add_email_address,
        description="Add an e-mail address to an account, not verified; an account can have 20. "
        f"{_SELF_OR_ADMINISTRATOR} {_RECENT_PROOF}",
    )
    add_star: stars.AddStarPayload | None = mutation(
        stars.add_star,
        description="Adds a star to a Starrable. Takes the READ permission on the repository, and "
        "the scope `public_repo`.",
    )
    archive_repository: repositories.ArchiveRepositoryPayload | None = mutation(
        repositories.archive_repository,
        description=f"Marks a repository as archived: it can only be read. {_ADMIN}.",
    )
    change_password: accounts.ChangePasswordPayload | None = mutation(
        accounts.change_password,
        description="Change the viewer's password; every other session of the account ends. Only "
        "for sessions. At most 10 attempts in 15 minutes.",
    )
    confirm_password: sessions.ConfirmPasswordPayload | None = mutation(
        sessions.confirm_password,
        description="Prove the password again, for acts that need a proof of the last 15 minutes. "
        "Only for sessions. At most 10 attempts in 15 minutes.",
    )
    create_access_token: access_tokens.CreateAccessTokenPayload | None = mutation(
        access_tokens.create_access_token,
        description="Make a personal access token for the viewer; an account can have 200. Only "
        f"for sessions. {_RECENT_PROOF}",
    )
    create_commit_on_branch: commits.CreateCommitOnBranchPayload | None = mutation(
        commits.create_commit_on_branch,
        description="Appends a commit to the given branch as the authenticated user: what every "
        "push must pass, it must pass too. Author and committer are the viewer, with the noreply "
        f"address. {_WRITE}.",
    )
    create_deploy_key: keys.CreateDeployKeyPayload | None = mutation(
        keys.create_deploy_key,
        description="Let an SSH key fetch from a repository or push to it, without being a user's; "
        f"a repository can have 100. {_ADMIN}, and the scope `repo`. {_RECENT_PROOF}",
    )
    create_ref: refs.CreateRefPayload | None = mutation(
        refs.create_ref,
        description=f"Create a new Git Ref: a branch, a tag or another one. {_WRITE}.",
    )
    create_repository: repositories.CreateRepositoryPayload | None = mutation(
        repositories.create_repository,
        description="Create a new, empty repository in the viewer's account, or in any as an "
        "administrator of the server. Takes the scope `public_repo`, or `repo` for one that is "
        "not public.",
    )
    create_ssh_key: keys.CreateSshKeyPayload | None = mutation(
        keys.create_ssh_key,
        description="Add an SSH key to the viewer's account; an account can have 200, and a key "
        f"belongs to one account only. Takes the scope `write:public_key`. {_RECENT_PROOF}",
    )
    create_user: accounts.CreateUserPayload | None = mutation(
        accounts.create_user,
        description="Create an account: for administrators of the server, and for strangers where "
        "it lets them sign up (`serverMetadata { isSignUpEnabled }`), at most 10 an hour and "
        "address.",
    )
    delete_deploy_key: keys.DeleteDeployKeyPayload | None = mutation(
        keys.delete_deploy_key,
        description=f"Take a deploy key away. {_ADMIN}, and the scope `repo`.",
    )
    delete_ref: refs.DeleteRefPayload | None = mutation(
        refs.delete_ref,
        description=f"Delete a Git Ref; not the default branch. {_WRITE}.",
    )
    delete_repository: repositories.DeleteRepositoryPayload | None = mutation(
        repositories.delete_repository,
        description="Delete a repository with all that belongs to it, for good. "
        f"{_ADMIN}, and the scope `delete_repo`.",
    )
    delete_ssh_key: keys.DeleteSshKeyPayload | None = mutation(
        keys.delete_ssh_key,
        description="Take an SSH key away from the viewer's account, or from any as an "
        "administrator of the server. Takes the scope `admin:public_key`.",
    )
    fork_repository: repositories.ForkRepositoryPayload | None = mutation(
        repositories.fork_repository,
        description="Copy what the branches and tags of a repository reach into a new repository "
        "in the viewer's account, or in any as an administrator of the server; it is as visible as "
        "the source. An account has one fork of a repository: asked again, it is returned. Takes "
        "the READ permission on the source, and the scope `public_repo`, or `repo` for one that is "
        "not public.",
    )
    mark_email_address_verified: email_addresses.MarkEmailAddressVerifiedPayload | None = mutation(
        email_addresses.mark_email_address_verified,
        description="Vouch for an e-mail address. For administrators of the server.",
    )
    merge_upstream: repositories.MergeUpstreamPayload | None = mutation(
        repositories.merge_upstream,
        description="Move a branch of a fork forward to where its source's is; commits of its own "
        f"are a CONFLICT. {_WRITE}.",
    )
    remove_collaborator: collaborators.RemoveCollaboratorPayload | None = mutation(
        collaborators.remove_collaborator,
        description="Stop sharing a repository with a person. "
        f"{_ADMIN}, or to be that person; and the scope `repo`.",
    )
    remove_email_address: email_addresses.RemoveEmailAddressPayload | None = mutation(
        email_addresses.remove_email_address,
        description="Remove an e-mail address that is not the primary one. "
        f"{_SELF_OR_ADMINISTRATOR} {_RECENT_PROOF}",
    )
    remove_star: stars.RemoveStarPayload | None = mutation(
        stars.remove_star,
        description="Removes a star from a Starrable. Takes the READ permission on the repository, "
        "and the scope `public_repo`.",
    )
    rename_user: accounts.RenameUserPayload | None = mutation(
        accounts.rename_user,
        description="Change a login. The old one leads to the account until another account takes "
        f"it. {_SELF_OR_ADMINISTRATOR}",
    )
    request_email_verification: email_addresses.RequestEmailVerificationPayload | None = mutation(
        email_addresses.request_email_verification,
        description="Mail a token to one of the viewer's addresses; it is good for 24 hours. "
        "FAILED_PRECONDITION where the server sends no mail. Takes the scope `user`; at most 5 an "
        "hour.",
    )
    revoke_access_token: access_tokens.RevokeAccessTokenPayload | None = mutation(
        access_tokens.revoke_access_token,
        description="End one of the viewer's access tokens, or any as an administrator of the "
        "server. Takes the scope `user`; a token may end itself.",
    )
    revoke_session: sessions.RevokeSessionPayload | None = mutation(
        sessions.revoke_session,
        description="End one of the viewer's sessions. Only for sessions.",
    )
    set_primary_email_address: email_addresses.SetPrimaryEmailAddressPayload | None = mutation(
        email_addresses.set_primary_email_address,
        description="Choose the verified address that mail goes to. "
        f"{_SELF_OR_ADMINISTRATOR} {_RECENT_PROOF}",
    )
    sign_in: sessions.SignInPayload | None = mutation(
        sessions.sign_in,
        description="Sign in with login and password. The session the request came with ends. "
        "Wrong attempts are limited for each account and address.",
    )
    sign_out: sessions.SignOutPayload | None = mutation(
        sessions.sign_out,
        description="End the session the request came with; does nothing without one.",
    )
    suspend_user: accounts.SuspendUserPayload | None = mutation(
        accounts.suspend_user,
        description="Take all access from an account at once; nothing of it is deleted. For "
        "administrators of the server.",
    )
    transfer_repository: repositories.TransferRepositoryPayload | None = mutation(
        repositories.transfer_repository,
        description="Hand a repository to another account in which the viewer may create "
        "repositories. The old address leads to it; the old owner stays as a collaborator. "
        f"{_ADMIN}, and the scope `repo`.",
    )
    unarchive_repository: repositories.UnarchiveRepositoryPayload | None = mutation(
        repositories.unarchive_repository,
        description=f"Unarchives a repository. {_ADMIN}.",
    )
    unsuspend_user: accounts.UnsuspendUserPayload | None = mutation(
        accounts.unsuspend_user,
        description="Give a suspended account its access back. For administrators of the server.",
    )
    update_ref: refs.UpdateRefPayload | None = mutation(
        refs.update_ref,
        description=f"Update a Git Ref. Without `force` it loses no commit. {_WRITE}.",
    )
    update_refs: refs.UpdateRefsPayload | None = mutation(
        refs.update_refs,
        description="Creates, updates and/or deletes multiple refs in a repository, all or none. "
        f"{_WRITE}.",
    )
    update_repository: repositories.UpdateRepositoryPayload | None = mutation(
        repositories.update_repository,
        description="Update information about a repository, all or nothing. The description takes "
        "the MAINTAIN permission, everything else ADMIN.",
    )
    update_subscription: stars.UpdateSubscriptionPayload | None = mutation(
        stars.update_subscription,
        description="Updates the state for subscribable subjects: how much the viewer wants to "
        "hear of a repository. Takes the READ permission on it, and the scope `notifications`.",
    )
    update_user: accounts.UpdateUserPayload | None = mutation(
        accounts.update_user,
        description=f"Change what a profile says. {_SELF_OR_ADMINISTRATOR}",
    )
    verify_email_address: email_addresses.VerifyEmailAddressPayload | None = mutation(
        email_addresses.verify_email_address,
        description="Prove one of the viewer's addresses with the token mailed to it. Takes the "
        "scope `user`.",
    )
