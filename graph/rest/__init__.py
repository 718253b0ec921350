"""GitHub's REST version 3, where its tools insist on it: stored documents, reshaped answers."""
