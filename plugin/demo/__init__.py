"""The scripts that `mlgov demo` runs, as a user would run them: `python -m plugin.demo.train_and_log`.

They stand here, and not beside the demo, because only `plugin` may import MLflow.
"""
