"""Which operators of a TensorFlow graph reach beyond it: to files, the network or Python.

Loading a model runs such a graph in part, and using it runs the rest. Nearly all operators compute; some write where they are told to.

Promises: every node of a graph and of its functions is looked at, in a SavedModel and in a graph alone. Does not: call a graph harmless;
there are over a thousand operators, and a graph may be of a kind that is not followed here (as text, or in HDF5).

Source: `saved_model.proto`, `meta_graph.proto`, `graph.proto` and `function.proto` of TensorFlow.
"""

from __future__ import annotations

from typing import Final

from governance.content.effort import Effort
from governance.content.protobuf import MessageError, Schema, leaves
from governance.content.windows import Bytes

ROOT: Final = "?tensorflow"

OUTPUT: Final = f"{ROOT}.output_stream"
"""A `PrintV2` that prints to a file, which `WriteFile` is by another name."""

_TO_FILE: Final = "file://"
_SAVED: Final = "saved_model.pb"
_LEADS: Final[Schema] = {
    "saved": {2: "meta"},
    "meta": {2: "graph"},
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {3: "node"},
    "node": {2: "operator", 5: "attribute"},
    "attribute": {2: "value"},
    "value": {2: "text"},
}
_LONGEST: Final = 256
_REACHING: Final = frozenset(
    (
        "CreateSummaryDbWriter", "CreateSummaryFileWriter", "DataServiceDataset", "DataServiceDatasetV2", "DataServiceDatasetV3",
        "DataServiceDatasetV4", "DatasetToTFRecord", "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount",
        "DebugNumericSummary", "DebugNumericSummaryV2", "DistributedSave", "EagerPyFunc", "ExperimentalDatasetToTFRecord",
        "FileSystemSetConfiguration", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "ImmutableConst", "MatchingFiles", "PyFunc",
        "PyFuncStateless", "ReadFile", "RpcCall", "RpcClient", "RpcServer", "RpcServerStart", "SaveDataset", "SaveDatasetV2", "SqlDataset",
        "TextLineDataset", "TextLineReader", "TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2", "WholeFileReader",
        "WholeFileReaderV2", "WriteFile", "DumpTensor", "ExperimentalMatchingFilesDataset", "ExperimentalSqlDataset",
        "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2", "LoadDataset", "MatchingFilesDataset", "RecordInput", "RemoteCall",
        "SnapshotDataset", "SnapshotDatasetReader", "SnapshotDatasetV2", "TFRecordDataset", "TFRecordDatasetV2",
    )
)  # fmt: skip
"""Not those by which a model saves and restores its own variables, and reads its own tables: each SavedModel has them."""


def graph_reaches(name: str, data: Bytes, effort: Effort) -> frozenset[str]:
    """The operators that reach beyond a graph, as `?tensorflow.name`, as far as it can be read. Raises `SpentError`."""
    root = "saved" if name.rpartition("/")[2].casefold() == _SAVED else "graph"
    found = set()
    try:
        for kind, start, end in leaves(data, _LEADS, root, effort):
            text = data[start : min(end, start + _LONGEST)].decode("utf-8", "replace")
            if kind == "operator" and text in _REACHING:
                found.add(f"{ROOT}.{text}")
            elif kind == "text" and text.startswith(_TO_FILE):
                found.add(OUTPUT)
    except MessageError:
        pass  # of another kind, or cut off: what was found up to here stands
    return frozenset(found)
