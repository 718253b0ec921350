"""Object types, one file a noun; each shows a row through declared fields."""
