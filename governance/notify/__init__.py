"""Telling people what happened, by rules of a team's own."""
