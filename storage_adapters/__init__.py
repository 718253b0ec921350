"""Bytes in object stores, behind one protocol."""
