"""Looking inside files without running them. Pure: bytes in, observations out."""
