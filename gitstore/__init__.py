"""Repositories without a disk of their own: packs in object storage, refs in the database.

The only home of pygit2 and of ``git`` processes. No policy: who may do what is decided above.
"""
