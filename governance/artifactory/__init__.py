"""Artifactory: addresses, and the client that speaks its REST interface. Judges nothing."""
