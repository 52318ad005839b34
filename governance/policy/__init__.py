"""The policy language: from YAML files to a compiled policy, and from request and facts to a verdict.

`load` reads files and reports every mistake at once, `compile` turns what was read into closures behind an index,
`evaluate` is pure and total. Nothing here knows where facts come from or what is done with a verdict.
"""
