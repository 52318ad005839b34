"""Figures, each as a ratio against a peer or the bare operation in the same run. None of them gates anything."""
