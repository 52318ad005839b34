"""Reports: what the audit log says, for people and for machines."""
