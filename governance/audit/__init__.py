"""The audit log: append-only entries under a Merkle tree, the stores that keep them, and the proofs about them."""
