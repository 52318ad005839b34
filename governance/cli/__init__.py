"""The command line: parse arguments, print, exit. Nothing is decided here, and nothing here imports MLflow."""
