"""Inputs, payloads and mutation fields, one file a noun."""
