"""Figures of the gate and the log for Prometheus. Needs the extra `metrics`."""
