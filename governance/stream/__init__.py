"""Entries of the audit log, on their way to where others read them."""
