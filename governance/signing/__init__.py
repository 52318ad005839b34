"""Signatures that anyone can verify: OpenSSF Model Signing bundles, keys, trust, and attestations of verdicts.

| module | is |
| --- | --- |
| `manifest`, `hashing` | which files with which digests; made from a folder's bytes |
| `statement`, `envelope`, `bundle` | the three layers of the format: in-toto, DSSE, Sigstore bundle |
| `predicate` | the statement, read |
| `publickey`, `keys`, `kms`, `pkcs11`, `desktop` | public keys; signers by the scheme of their address; passphrases in a keyring |
| `trust`, `roots`, `keyring` | whom we believe for what and when; how that list is signed, renewed and kept |
| `sign`, `verify`, `signers`, `report`, `reason` | the two verbs, who signed, the answer, and why not |
| `timestamp` | trusted time |
| `certificate`, `keyless` | signers known by a certificate chain or by a Sigstore identity |
| `vsa` | a verdict as a signed attestation (SLSA verification summary) |

Nothing is re-exported here: an upload pays for the modules that it imports and for no other.
"""
