"""The fourteen sections of a compliance report, each a function from what was read to a `Section`."""
