"""The MLflow plugin: MLflow's verbs on `artifactory://` in terms of the gate.

`plugin.entry` is what MLflow loads; `plugin.errors` is what users catch. Importing this package imports nothing else,
since every user of MLflow pays for it.
"""
