"""Collectors: each asks one edge for some facts. None of them judges, and a failure becomes `Unknown`, never silence."""
