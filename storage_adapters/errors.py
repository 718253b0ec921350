"""What can go wrong with an object store."""


class StorageError(Exception):
    """Base of all errors of this package."""


class ObjectNotFound(StorageError):
    """No object has this key."""


class ObjectExists(StorageError):
    """``put_if_absent`` met an object."""


class StorageUnavailable(StorageError):
    """The store did not do it: no answer, no room, no right. Trying later may help."""


class InvalidKey(StorageError, ValueError):
    """The key breaks the rules of ``storage_adapters.keys``."""


class InvalidStorageURL(StorageError, ValueError):
    """The address of the object store cannot be used; the text says what to write instead."""
