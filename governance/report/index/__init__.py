"""The index of terms over an audit log: a derived file that only ever says where to look."""
