"""Entries of the audit log as events of the Open Cybersecurity Schema Framework."""
